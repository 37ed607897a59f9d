"""What is sealed can be neither read, changed, exchanged nor cut short; recovery keys survive people."""

from __future__ import annotations

import pytest

from hybrid.away.sealing import Sealed, recovery_key, recovery_text
from hybrid.away.stores import AwayStore, checked, decode, encode
from hybrid.errors import BadRequest, Damaged

KEY = bytes(range(32))


def test_pieces_open_in_their_places_only() -> None:
    """Another number, another stream, another key, a changed byte, or an end that was cut off: refused."""
    sealed = Sealed(KEY, "one")
    first, last = sealed.seal(0, False, b"first"), sealed.seal(1, True, b"last")
    assert b"first" not in first
    assert (sealed.open(0, False, first), sealed.open(1, True, last)) == (b"first", b"last")
    wrong = [
        lambda: sealed.open(1, False, first),
        lambda: sealed.open(0, True, first),
        lambda: sealed.open(0, False, first[:-1] + bytes((first[-1] ^ 1,))),
        lambda: Sealed(KEY, "two").open(0, False, first),
        lambda: Sealed(bytes(32), "one").open(0, False, first),
        lambda: sealed.open_label(last),
    ]
    for attempt in wrong:
        with pytest.raises(Damaged):
            attempt()


def test_a_recovery_key_is_read_as_people_write_it() -> None:
    """Case and spaces do not matter; a wrong or missing character is noticed."""
    text = recovery_text(KEY)
    assert recovery_key(text) == KEY
    assert recovery_key(f"  {text.upper()}\n") == KEY
    swapped = text[:-1] + ("a" if text[-1] != "a" else "b")
    for wrong in (text[:-2], swapped, "hyr1-", "", "hyr2-" + text[5:], text.replace("-", "1", 3)):
        with pytest.raises(BadRequest, match="recovery key"):
            recovery_key(wrong)


STORE = AwayStore(
    name="vault", endpoint="https://s3.example.net", bucket="copies", access_key="a", secret_key="b", key=KEY
)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Vault"},
        {"name": "a/b"},
        {"endpoint": "s3.example.net"},
        {"endpoint": "ftp://s3.example.net"},
        {"endpoint": "https://user@s3.example.net"},
        {"endpoint": "https://s3.example.net/path?x=1"},
        {"bucket": "a"},
        {"bucket": "../x"},
        {"folder": "x/../y"},
        {"folder": "/x"},
        {"every_s": 1.0},
        {"keep_s": 60.0},
    ],
)
def test_a_store_that_cannot_be_one_is_refused(wrong: dict[str, object]) -> None:
    """With a sentence that says which value, before anything is spoken to."""
    fields = {name: getattr(STORE, name) for name in STORE.__struct_fields__} | wrong
    with pytest.raises(BadRequest):
        checked(AwayStore(**fields))


def test_a_store_is_remembered_whole_and_shows_no_secret() -> None:
    """In the shared map; what another release wrote and this one cannot read is passed over."""
    assert decode(dict([encode(STORE)])) == {"vault": STORE}
    assert decode({"away/vault": "{}", "away/x": encode(STORE)[1]}) == {}
    assert "'b'" not in repr(STORE) and "key" not in repr(STORE)
