"""Who may log in by SSH, through the API."""

from __future__ import annotations

from typing import Any

import msgspec

from hybrid.certs.hostkey import KEY, HostKeyRecord
from hybrid.certs.vault import Sealed
from tests.proxy.sshclient import key_of, line_of

PATH = "/v1/sites/shop/keys"


def test_keys_come_and_go(cluster: Any) -> None:
    """Added at any node, listed by all, removed by fingerprint or name."""
    assert cluster.n1("GET", PATH).json["items"] == []
    made = cluster.n1("POST", PATH, {"key": line_of(key_of(1), "ann@work") + "\n"})
    assert (made.status, made.json["name"], made.json["kind"]) == (200, "ann@work", "ssh-ed25519")
    assert made.json["fingerprint"].startswith("SHA256:")
    other = cluster.n3("POST", PATH, {"key": line_of(key_of(2)), "name": "bob"}).json
    assert [key["name"] for key in cluster.n2("GET", PATH).json["items"]] == ["ann@work", "bob"]
    renamed = cluster.n1("POST", PATH, {"key": line_of(key_of(1)), "name": "ann"}).json
    assert renamed["fingerprint"] == made.json["fingerprint"]
    assert [key["name"] for key in cluster.n1("GET", PATH).json["items"]] == ["bob", "ann"]
    left = cluster.n1("DELETE", f"{PATH}/{other['fingerprint'].replace('/', '%2F')}")
    assert [key["name"] for key in left.json["items"]] == ["ann"]
    assert cluster.n2("DELETE", f"{PATH}/ann").json["items"] == []
    assert cluster.n2("DELETE", f"{PATH}/ann").status == 404


def test_what_is_no_key_is_refused(cluster: Any) -> None:
    """With the reason, a private key above all; and no more than fit."""
    for key, says in (
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
        ("nonsense", "no public key"),
        ("ssh-ed25519 AAAA", "no public key"),
        ("ssh-dss AAAA x", "are not taken"),
        (line_of(key_of(1)).replace("ssh-ed25519 ", "ssh-rsa "), "no public key"),
        ("", "no public key"),
    ):
        refused = cluster.n1("POST", PATH, {"key": key})
        assert refused.status == 400 and says in refused.json["title"], refused.body
    for number in range(50):
        assert cluster.n2("POST", PATH, {"key": line_of(key_of(number))}).status == 200
    assert cluster.n2("POST", PATH, {"key": line_of(key_of(51))}).status == 409
    assert cluster.n2("DELETE", f"{PATH}/ann@work").status == 409  # several are called so


def test_the_host_key(cluster: Any) -> None:
    """The public half of the oldest one there is."""
    assert cluster.n1("GET", "/v1/ssh/host-key").status == 404
    for at_s, number in ((2, 2), (1, 1)):
        record = HostKeyRecord(public=line_of(key_of(number), "").strip(), key=Sealed("k", b"sealed"))
        cluster.shared.put(f"{KEY}{at_s:010d}-00", msgspec.json.encode(record).decode())
    assert cluster.n2("GET", "/v1/ssh/host-key").json["key"] == line_of(key_of(1), "").strip()
