"""The API's description is made from the same table and Structs that answer calls, and is valid OpenAPI 3.1."""

import json
from typing import Any

import pytest

from hybrid.api.table import ROUTES


def test_described_without_a_token(cluster: Any) -> None:
    """A program can learn the API before anybody gave it a token; nothing else is open."""
    answer = cluster.n1("GET", "/v1/openapi.json", headers={"Authorization": ""})
    assert (answer.status, answer.json["openapi"]) == (200, "3.1.0")
    assert [route.template for route in ROUTES if route.public] == ["/v1/openapi.json"]


def test_every_route_is_described(cluster: Any) -> None:
    """All of the table, with parameters, bodies and problems."""
    document = cluster.n1("GET", "/v1/openapi.json").json
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(route.method, route.template) for route in ROUTES}
    create = document["paths"]["/v1/sites"]["post"]
    assert create["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/NewSite"}
    assert set(create["responses"]) == {"202", "4XX", "5XX"}
    assert document["components"]["schemas"]["NewSite"]["additionalProperties"] is False
    ids = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


def test_every_reference_leads_somewhere(cluster: Any) -> None:
    """No `$ref` dangles."""
    document = cluster.n1("GET", "/v1/openapi.json").json
    found: list[str] = []

    def collect(value: object) -> None:
        if isinstance(value, dict):
            found.extend(item for key, item in value.items() if key == "$ref")
            for item in value.values():
                collect(item)
        elif isinstance(value, list):
            for item in value:
                collect(item)

    collect(document)
    assert len(found) > 20
    for reference in set(found):
        target = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


def test_valid_by_the_standard(cluster: Any) -> None:
    """Checked against the OpenAPI schema itself, where the validator is installed."""
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(json.loads(cluster.n1("GET", "/v1/openapi.json").body))
