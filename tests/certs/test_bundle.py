"""What is uploaded as a certificate: put in order, or refused with what to do."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from hybrid.certs.bundle import read
from hybrid.certs.names import covers, uncovered
from hybrid.errors import BadRequest
from tests.certs.authority import NOW_S, Authority, new_key, pem, text

ROOT = Authority()
MIDDLE = Authority("middle", ROOT)
KEY = new_key()
LEAF = MIDDLE.issue(KEY, "shop.test", "*.Shop.test")


def test_a_chain_in_any_order_is_put_in_order() -> None:
    """Whatever order the files were joined in, clients get the site's certificate first and no root."""
    found = read(MIDDLE.pem + ROOT.pem + text(LEAF), pem(KEY), NOW_S)
    assert found.names == ("*.shop.test", "shop.test")
    assert found.chain == text(LEAF) + MIDDLE.pem
    assert found.not_after_s == int(NOW_S) + 90 * 86400
    assert "middle" in found.issuer


def test_a_self_signed_certificate_is_taken() -> None:
    """It is somebody's wish; there is nothing to leave out of its chain."""
    authority = Authority("alone")
    leaf = authority.issue(authority.key, "shop.test")
    assert read(text(leaf), pem(authority.key), NOW_S).chain == text(leaf)


@pytest.mark.parametrize(
    ("chain", "key", "says"),
    [
        (text(LEAF), pem(new_key()), "do not belong together"),
        (text(LEAF) + Authority("stranger").pem, pem(KEY), "the chain is broken"),
        (text(LEAF), "", "no private key"),
        (text(LEAF), text(LEAF), "no private key"),
        ("", pem(KEY), "no certificates"),
        (pem(KEY), pem(KEY), "no certificates"),
        (text(MIDDLE.issue(KEY, "shop.test", days=-1, begun_days=9)), pem(KEY), "ended on 2026-11-27"),
        (text(MIDDLE.issue(KEY, "shop.test", begun_days=-2)), pem(KEY), "not valid yet"),
        (text(MIDDLE.issue(KEY)), pem(KEY), "for no host name"),
        (text(MIDDLE.issue(KEY, "com", "*.*.x.test")), pem(KEY), "for no host name"),
        (text(LEAF) * 9, pem(KEY), "too many"),
        ("x" * 70000, pem(KEY), "too long"),
        (text(LEAF), "x" * 70000, "too long"),
    ],
)
def test_what_does_not_fit_is_refused(chain: str, key: str, says: str) -> None:
    """Each mistake has its own words."""
    with pytest.raises(BadRequest, match=says):
        read(chain, key, NOW_S)


def test_keys_that_clients_do_not_take_are_refused() -> None:
    """Small RSA keys, exotic curves, Ed25519; an encrypted key is said to be so."""
    small, curve = rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP521R1())
    edwards = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for key in (pem(small), pem(curve), edwards.decode()):
        with pytest.raises(BadRequest, match="browsers do not take"):
            read(text(LEAF), key, NOW_S)
    locked = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode()
    with pytest.raises(BadRequest, match="openssl pkey"):
        read(text(LEAF), locked, NOW_S)


def test_a_wildcard_is_for_one_label() -> None:
    """Neither for the name itself, nor for names further below."""
    assert covers("*.shop.test", "www.shop.test") and covers("shop.test", "shop.test")
    for host in ("shop.test", "a.b.shop.test", ".shop.test", "xshop.test"):
        assert not covers("*.shop.test", host)
    assert uncovered(["*.a.test", "b.test"], ["x.a.test", "a.test", "b.test"]) == ["a.test"]
