"""Signatures of S3 requests, against the examples that Amazon's S3 API Reference publishes."""

from __future__ import annotations

import pytest

from hybrid.away import sigv4

WHEN_S = 1369353600  # 20130524T000000Z
ACCESS, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
HOST = "examplebucket.s3.amazonaws.com"


@pytest.mark.parametrize(
    ("method", "path", "arguments", "body", "more", "signature"),
    [
        (
            "GET",
            "/test.txt",
            {},
            b"",
            {"range": "bytes=0-9"},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test%24file.text",
            {},
            b"Welcome to Amazon S3.",
            {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/",
            {"lifecycle": ""},
            b"",
            {},
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/",
            {"prefix": "J", "max-keys": "2"},
            b"",
            {},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_the_published_examples(
    method: str, path: str, arguments: dict[str, str], body: bytes, more: dict[str, str], signature: str
) -> None:
    """The signature is Amazon's, to the last digit."""
    query = sigv4.query_of(arguments)
    headers = sigv4.signed(method, HOST, path, query, body, "us-east-1", ACCESS, SECRET, WHEN_S, more)
    assert headers["authorization"].endswith(f"Signature={signature}")


def test_names_are_encoded_as_they_are_signed() -> None:
    """What is not unreserved is percent-encoded, in paths but for the slash."""
    assert sigv4.path_of("b", "a b/$") == "/b/a%20b/%24"
    assert sigv4.query_of({"prefix": "a/b", "a": ""}) == "a=&prefix=a%2Fb"
