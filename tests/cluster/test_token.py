"""Join tokens: what can be read from one, what cannot be forged, and how often one may try."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid.cluster.token import (
    MAX_TEXT,
    Attempts,
    JoinToken,
    TokenError,
    parse,
    proof,
    proof_key,
    proven,
)

TOKEN = JoinToken(
    root_sha256=bytes(range(32)),
    places=(("10.0.0.1", 7946), ("192.0.2.200", 65535), ("2001:db8::1", 1)),
    id="0123456789abcdef",
    secret=bytes(16),
    expires_at_s=1_900_000_000,
)


def test_token_survives_being_copied() -> None:
    """A token is one word that can be pasted, with blanks around it, and says all that it said."""
    assert TOKEN.text.startswith("hyb1.") and len(TOKEN.text) < 200 and TOKEN.text.split() == [TOKEN.text]
    assert parse(f"  {TOKEN.text}\n") == TOKEN


def test_secret_is_not_shown_in_logs() -> None:
    """Whoever logs a token logs its number."""
    assert str(TOKEN) == repr(TOKEN) == "<JoinToken 0123456789abcdef>"


@pytest.mark.parametrize(
    "text",
    ["", "hyb1.", "hyb1.====", "hyb2.AAAA", "nonsense", "hyb1.ü", TOKEN.text[:-3], TOKEN.text + "AAAA", TOKEN.text[5:]],
)
def test_what_is_no_token_is_refused_with_advice(text: str) -> None:
    """A token cut short or mistyped is noticed before anybody is asked."""
    with pytest.raises(TokenError) as caught:
        parse(text)
    assert caught.value.why and caught.value.try_


@given(st.integers(5, len(TOKEN.text) - 1), st.sampled_from("ABCxyz0189-_"))
def test_every_wrong_character_is_noticed(at: int, character: str) -> None:
    """No typing error becomes a wrong password."""
    text = TOKEN.text[:at] + character + TOKEN.text[at + 1 :]
    try:
        assert parse(text) == TOKEN
    except TokenError:
        assert text != TOKEN.text


def test_ten_megabytes_are_not_decoded() -> None:
    """An endless token costs nothing."""
    with pytest.raises(TokenError, match="characters"):
        parse("hyb1." + "A" * 10_000_000)


def test_longest_token_fits() -> None:
    """The bound leaves room for every real token."""
    assert len(TOKEN.text) < MAX_TEXT / 4


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_cleanly(body: bytes) -> None:
    """Whatever stands in a token, the answer is `TokenError`."""
    with pytest.raises(TokenError):
        parse("hyb1." + base64.urlsafe_b64encode(body).decode())


def test_proof_needs_the_secret_and_covers_what_is_asked() -> None:
    """Who saw a proof can use it for nothing else; who does not know the secret can make none."""
    key = proof_key(b"s" * 16)
    assert proven(key, b"ask", proof(key, b"ask"))
    assert not proven(key, b"another", proof(key, b"ask"))
    assert not proven(key, b"ask", proof(proof_key(b"t" * 16), b"ask"))
    assert not proven(key, b"ask", b"")
    assert not proven(None, b"ask", proof(bytes(32), b"ask"))


def test_five_attempts_a_minute_from_each_source() -> None:
    """Guessing is slow, and does not slow others down."""
    attempts = Attempts(most=5, within_s=60.0)
    assert [attempts.allow("a", float(second)) for second in range(7)] == [True] * 5 + [False] * 2
    assert attempts.allow("b", 6.0)
    assert not attempts.allow("a", 59.0)
    assert attempts.allow("a", 60.0)


def test_many_sources_take_bounded_memory() -> None:
    """A flood from everywhere fills nothing."""
    attempts = Attempts(sources=10)
    for number in range(1000):
        assert attempts.allow(f"10.0.{number // 256}.{number % 256}", 0.0)
    assert len(attempts._made) == 10
