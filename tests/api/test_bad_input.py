"""Bad input from clients: each gets its clear answer, nothing crashes, nothing is done."""

import json
from typing import Any
from urllib.parse import quote

import pytest

BAD_NAMES = [
    "a/b",
    "a@b",
    "a#b",
    "a%b",
    "..",
    "../etc",
    "a b",
    "-a",
    "a-",
    "a\0b",
    "blög",
    "аdmin",  # noqa: RUF001  # a Cyrillic letter that looks like a Latin one
    "A",
    "a.b",
    "x" * 64,
    "x" * 300,
    "$(reboot)",
    "'; drop table sites",
    "\x1b[31mred",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_are_none(cluster: Any, name: str) -> None:
    """A name outside the rule is refused with the rule, in a path as in a body, and is shown harmlessly."""
    in_path = cluster.n1("GET", "/v1/sites/" + quote(name, safe=""))
    in_body = cluster.n1("POST", "/v1/sites", {"name": name, "image": "php"})
    for refused in (in_path, in_body):
        assert refused.status == 400, refused
        assert "1 to 63" in refused.json["detail"]
        assert refused.body.isascii() and b"\\u001b" not in refused.body
    assert cluster.n1.hosting.calls == []


def test_dots_and_slashes_hidden_in_escapes(cluster: Any) -> None:
    """`%2e%2e` and `%2F` are part of a name, never of the path."""
    assert cluster.n1("GET", "/v1/sites/%2e%2e/snapshots").status == 400
    assert cluster.n1("GET", "/v1/sites/blog%2Fsnapshots").status == 400
    assert cluster.n1("GET", "/v1/sites/%ff%fe").status == 400
    assert cluster.n1("GET", "/v1/sites/").status == 404


def test_a_name_like_an_id_is_refused(cluster: Any) -> None:
    """Otherwise one site's name could be another's id."""
    refused = cluster.n1("POST", "/v1/sites", {"name": "s-" + "z" * 26, "image": "php"})
    assert (refused.status, refused.json["detail"]) == (400, "it has the form of a site's id")


@pytest.mark.parametrize("image", ["php/../x", "php@1@2", "@1", "", "PHP", "php 7", "a..b"])
def test_images_that_are_none(cluster: Any, image: str) -> None:
    """An image's name has a form, too."""
    assert cluster.n1("POST", "/v1/sites", {"name": "new", "image": image}).status == 400
    assert cluster.n1("POST", "/v1/images", {"name": image}).status == 400


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "Expecting property name"),
        (b"[]", "Expected `object`"),
        (b'{"name": "a", "name": "b", "image": "php"}', 'the key "name" is given twice'),
        (b'{"name": "a", "image": "php", "cpus": NaN}', "NaN is no JSON value"),
        (b'{"name": "a", "image": "php", "cpus": Infinity}', "Infinity is no JSON value"),
        (b'{"name": "a", "image": "php", "cpus": 1e999}', "too large"),
        (b'{"name": "a", "image": "php", "copies": -1}', "$.copies"),
        (b'{"name": "a", "image": "php", "copies": "2"}', "Expected `int`, got `str`"),
        (b'{"name": "a", "image": "php", "ttl_s": ' + b"9" * 5000 + b"}", ""),
        (b'{"name": "a"}', "missing required field `image`"),
        (b'{"name": "\xff"}', "not UTF-8"),
        (b"[" * 51 + b"]" * 51, "at most 50 levels"),
        (b'{"a":' * 100_000, "at most 50 levels"),
    ],
)
def test_bodies_that_are_none(cluster: Any, body: bytes, why: str) -> None:
    """Broken, ambiguous or hostile JSON is refused with the reason."""
    refused = cluster.n1("POST", "/v1/sites", raw=body)
    assert refused.status == 400
    assert why in refused.json["detail"]
    assert cluster.n1.hosting.calls == []


def test_a_nested_string_is_not_depth(cluster: Any) -> None:
    """Brackets inside a string do not count."""
    body = json.dumps({"argv": ["echo", "[" * 200 + '"']}).encode()
    assert cluster.n1("POST", "/v1/sites/blog/exec", raw=body).status == 200


def test_unknown_fields_and_parameters(cluster: Any) -> None:
    """A typing error is not silently ignored: the nearest known name is offered."""
    field = cluster.n1("POST", "/v1/sites", {"name": "a", "image": "php", "copeis": 3})
    assert (field.status, field.json["hint"]) == (400, 'did you mean "copies"?')
    parameter = cluster.n1("GET", "/v1/sites?stat=serving")
    assert (parameter.status, parameter.json["hint"]) == (400, 'did you mean "state"?')
    assert cluster.n1("GET", "/v1/sites?state=serving&state=stopped").status == 400
    assert cluster.n1("GET", "/v1/sites/blog/browse?snapshot=60s&path=%00").status == 400
    assert cluster.n1("GET", "/v1/sites/blog/browse?snapshot=60s&path=%ff").status == 400


def test_a_body_too_large(cluster: Any) -> None:
    """413 for more than 1 MB, told to the end of a moderate body, cut off for a huge one."""
    refused = cluster.n1("POST", "/v1/sites", raw=b" " * (1024 * 1024 + 1))
    assert (refused.status, refused.json["code"]) == (413, "too-large")
    huge = cluster.n1.connect(b"POST /v1/sites HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n")[0]
    assert huge.value().startswith(b"HTTP/1.1 413 ")
    assert huge.disconnecting
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    head = b"POST /v1/sites HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked = cluster.n1.connect(head + chunk * 9)[0]
    assert chunked.value().startswith(b"HTTP/1.1 413 ")
    assert chunked.disconnecting


def test_no_such_path_or_method(cluster: Any) -> None:
    """404 with the nearest path, 405 with what is possible; also outside /v1."""
    assert cluster.n1("GET", "/v1/stats").json["hint"] == 'did you mean "/v1/status"?'
    refused = cluster.n1("PUT", "/v1/sites/blog")
    assert (refused.status, refused.headers["allow"]) == (405, "DELETE, GET, PATCH")
    for path in ("/", "/etc/passwd", "/v2/sites", "http://other/v1/status"):
        outside = cluster.n1("GET", path)
        assert (outside.status, outside.headers["content-type"]) == (404, "application/problem+json"), path


def test_malformed_http(cluster: Any) -> None:
    """What is not HTTP gets 400 and an end."""
    for data in (b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n: x\r\n\r\n"):
        transport = cluster.n1.connect(data)[0]
        assert transport.disconnecting, data
    both = b"POST /v1/sites HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert cluster.n1.connect(both)[0].value().startswith(b"HTTP/1.1 400")


def test_a_request_must_arrive(cluster: Any) -> None:
    """A client that sends a byte now and then does not hold a connection for ever."""
    transport, protocol = cluster.n1.connect(b"POST /v1/sites HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
    for _ in range(4):
        cluster.reactor.advance(8)
        protocol.dataReceived(b"x")
    assert transport.disconnecting


def test_connections_are_bounded(cluster: Any) -> None:
    """The thousand-and-first is closed; when one ends there is room again."""
    open_ones = [cluster.n1.connect(b"")[1] for _ in range(1000)]
    assert cluster.n1.api.factory.buildProtocol(None) is None
    cluster.n1.lose(open_ones[0])
    assert cluster.n1.api.factory.buildProtocol(None) is not None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        "Basic YWRtaW46YWRtaW4=",
        "Bearer hybpat_aeaqcaib_" + "a" * 32,
        "Bearer hybpat_zzzzzzzz_" + "a" * 32,
        "Bearer hybpat_" + "é" * 8 + "_" + "a" * 32,
        "hybpat_aeaqcaib_" + "a" * 32,
        "Bearer " + "A" * 8000,
    ],
)
def test_tokens_that_are_none(cluster: Any, header: str) -> None:
    """401 with a challenge, the same for every wrong token, before anything else is told."""
    refused = cluster.n1("GET", "/v1/sites/no-such-site", headers={"Authorization": header})
    assert refused.status == 401
    assert refused.headers["www-authenticate"].startswith('Bearer realm="hybrid"')
    assert refused.json["hint"]


def test_two_authorization_headers(cluster: Any) -> None:
    """Two readers could see two different people."""
    head = f"GET /v1/status HTTP/1.1\r\nAuthorization: Bearer {cluster.token}\r\nAuthorization: Bearer x\r\n\r\n"
    assert cluster.n1.connect(head.encode())[0].value().startswith(b"HTTP/1.1 400")


def test_a_token_that_may_only_read(cluster: Any) -> None:
    """It sees everything and changes nothing, on any node; revoked, it is worth nothing."""
    made = cluster.n1("POST", "/v1/tokens", {"name": "grafana", "rights": "read"})
    assert made.status == 201
    headers = {"Authorization": "Bearer " + made.json["token"]}
    assert cluster.n2("GET", "/v1/sites/blog/logs", headers=headers).status == 200
    refused = cluster.n2("POST", "/v1/sites/blog/snapshots", headers=headers)
    assert (refused.status, refused.json["code"]) == (403, "read-only")
    listed = cluster.n1("GET", "/v1/tokens").json["items"]
    assert [token["name"] for token in listed] == ["admin", "grafana"]
    assert made.json["token"] not in json.dumps(listed) + json.dumps(cluster.shared.values)
    assert cluster.n3("DELETE", f"/v1/tokens/{made.json['id']}").status == 204
    assert cluster.n2("GET", "/v1/status", headers=headers).status == 401
    assert cluster.n3("DELETE", f"/v1/tokens/{made.json['id']}").status == 404


def test_a_broken_record_lets_nobody_in(cluster: Any) -> None:
    """Rubbish in the shared map is no token."""
    cluster.shared.put("token/aeaqcaib", "{}")
    assert cluster.n1("GET", "/v1/status").status == 401


def test_removing_a_node(cluster: Any) -> None:
    """A node is removed for good by name or id; what stands in the way is told, and force overrides it."""
    made = cluster.n1("POST", "/v1/tokens", {"name": "admin-n3", "rights": "admin"}).json
    headers = {"Authorization": "Bearer " + made["token"]}
    assert cluster.n1("GET", "/v1/nodes", headers=headers).status == 200
    assert cluster.n2("DELETE", "/v1/nodes/n3").status == 204
    assert cluster.n1("GET", "/v1/nodes", headers=headers).status == 401, "it lies on the disk of n3"
    refused = cluster.n2("DELETE", "/v1/nodes/n1")
    assert (refused.status, refused.json["detail"]) == (409, "blog is on it")
    assert cluster.n2("DELETE", "/v1/nodes/n1?force=2").status == 400
    assert cluster.n2("DELETE", "/v1/nodes/n1?force=1").status == 204
    assert cluster.n2("DELETE", "/v1/nodes/n9").status == 404
    assert cluster.removed == [(cluster.n3.id, "admin", False), (cluster.n1.id, "admin", True)]


def test_replacing_the_cluster_key(cluster: Any) -> None:
    """A new key is asked for at any node and shows as known before it seals; no answer holds a key."""
    assert cluster.n1("GET", "/v1/cluster/keys").json["replaced"] is True
    begun = cluster.n2("POST", "/v1/cluster/keys?hurried=1")
    assert (begun.status, begun.json["known"], begun.json["replaced"]) == (202, 2, False)
    assert set(begun.json) == {"known", "sealing_since", "replaced"}
    assert cluster.keys.hurried
    assert cluster.n2("POST", "/v1/cluster/keys?hurried=yes").status == 400


def test_join_tokens(cluster: Any) -> None:
    """A token for one more node, with the command to type there."""
    made = cluster.n1("POST", "/v1/join-tokens", {"ttl_s": 600})
    assert (made.status, made.json["command"]) == (201, "hybrid join hyb1.abc")
    assert cluster.n1("POST", "/v1/join-tokens", {"ttl_s": 1}).status == 400


def test_image_import(cluster: Any) -> None:
    """An image that is there becomes a dataset, one that is not fails with the reason."""
    done = cluster.n1("POST", "/v1/images", {"name": "php"})
    assert cluster.n1("GET", done.headers["location"]).json["result"] == {"image": "php@1"}
    failed = cluster.n1("POST", "/v1/images", {"name": "perl"})
    assert cluster.n1("GET", failed.headers["location"]).json["error"]["title"] == "there is no image perl"
