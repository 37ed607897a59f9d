"""What is read from and written to `zfs`: properties, rows, mounts, messages, the first record of a stream."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid.errors import AlreadyExists, Busy, NoSuchDataset, OutOfSpace, StorageError, StorageSick, StreamRefused
from hybrid.model import Guid
from hybrid.storage import begin, names, parsing, properties

TEXTS = st.text(st.characters(codec="utf-8"), max_size=4000)


@given(TEXTS)
def test_a_property_comes_back_as_it_went_in(value: str) -> None:
    """Any text, in pieces that every ZFS keeps and every listing can show."""
    raw = properties.pieces("spec", value)
    assert properties.join(raw) == {"spec": value}
    for name, text in raw.items():
        assert 0 < len(text.encode()) <= properties.PIECE_BYTES
        assert text.isascii() and text.isprintable()
        assert name == "hybrid:spec" or name.startswith("hybrid:spec.")


@given(TEXTS, TEXTS, st.integers(0, 20))
def test_a_crash_between_two_steps_leaves_the_old_or_the_new_value(old: str, new: str, steps: int) -> None:
    """Pieces are set one at a time; after any number of them one whole value is read."""
    raw = properties.pieces("spec", old)
    for key, text in properties.changes(raw, {"spec": new})[:steps]:
        if text is None:
            del raw[key]
        else:
            raw[key] = text
    assert properties.join(raw) in ({"spec": old}, {"spec": new})


@given(TEXTS, TEXTS)
def test_changes_lead_to_what_is_wanted_and_then_to_nothing(old: str, new: str) -> None:
    """Nothing stale stays behind, and a second time there is nothing to do."""
    raw = {**properties.pieces("spec", old), **properties.pieces("other", "kept")}
    for key, text in properties.changes(raw, {"spec": new}):
        if text is None:
            del raw[key]
        else:
            raw[key] = text
    assert raw == {**properties.pieces("spec", new), **properties.pieces("other", "kept")}
    assert properties.changes(raw, {"spec": new}) == []
    assert {key for key, _ in properties.changes(raw, {"spec": None})} == set(properties.pieces("spec", new))


def test_a_value_with_a_piece_missing_is_left_out() -> None:
    """Rather no value than half of one."""
    raw = properties.pieces("spec", "x" * 5000)
    del raw[sorted(raw)[2]]
    assert properties.join({**raw, "hybrid:other": "kept", "com.sun:auto-snapshot": "false"}) == {"other": "kept"}


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("cannot create snapshot 'p/hybrid/sites/a@2': out of space", OutOfSpace),
        ("cannot set property for 'p/r': size is greater than available space", OutOfSpace),
        ("cannot scrub p: pool I/O is currently suspended", StorageSick),
        ("cannot create 'p/hybrid/sites/a': dataset already exists", AlreadyExists),
        ("cannot promote 'p/c': conflicting snapshot 's1' from parent 'p/a@s1'", AlreadyExists),
        ("cannot open 'p/hybrid/sites/a': dataset does not exist", NoSuchDataset),
        ("cannot destroy 'p/a@s1': dataset is busy", Busy),
        ("umount: /mnt: target is busy.\ncannot unmount '/mnt': umount failed: umount child process failed", Busy),
        ("cannot destroy 'p/a@s': snapshot has dependent clones\nuse '-R' to destroy the following", Busy),
        ("connect: No such file or directory\nPlease make sure that the zfs-fuse daemon is running.", StorageSick),
        ("internal error: Bad exchange descriptor", StorageError),
        ("cannot receive incremental stream: invalid backup stream", StorageError),
        ("", StorageError),
    ],
)
def test_messages_mean_errors(message: str, kind: type[StorageError]) -> None:
    """Known words get their error; what is unknown stays unknown, with the text."""
    assert type(parsing.failure("it failed", message)) is kind


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("cannot receive incremental stream: invalid backup stream", StreamRefused),
        ("cannot receive: invalid stream (bad magic number)", StreamRefused),
        ("cannot receive: most recent snapshot of p/a does not\nmatch incremental source", StreamRefused),
        ("cannot receive: destination p/a has been modified\nsince most recent snapshot", StreamRefused),
        ("cannot receive new filesystem stream: out of space", OutOfSpace),
        ("cannot receive incremental stream: dataset is busy", Busy),
        ("cannot receive: something new", StorageError),
    ],
)  # fmt: skip
def test_messages_of_a_receive_mean_errors(message: str, kind: type[StorageError]) -> None:
    """A refused stream is told from a full pool and from what nobody knows."""
    assert type(parsing.failure("it failed", message, receiving=True)) is kind


def test_a_message_is_told_without_the_manual() -> None:
    """`zfs` prints its whole usage after some errors; people get the reason only."""
    error = parsing.failure("x was not set", "missing value in property=value argument\nusage:\n\tset <property=value>")
    assert str(error) == "x was not set: missing value in property=value argument"


def test_history_is_ordered_by_transaction_not_by_name_or_time() -> None:
    """Two snapshots of one second, or a clock that went back, keep their order."""
    lines = [
        b"p/a\tguid\t1\t-\np/a\tcreation\t5\t-\np/a\tcreatetxg\t1\t-",
        b"p/a@z\tguid\t11\t-\np/a@z\tcreation\t900\t-\np/a@z\tcreatetxg\t7\t-",
        b"p/a@a\tguid\t12\t-\np/a@a\tcreation\t100\t-\np/a@a\tcreatetxg\t10\t-",
    ]
    found = parsing.history(parsing.rows(b"\n".join(reversed(lines))))
    assert [(one.guid, one.name) for one in found] == [(11, "z"), (12, "a")]


def test_a_dataset_tells_only_its_own_properties() -> None:
    """Inherited ones and those of others are not taken for the site's spec."""
    rows = parsing.rows(
        b"p/hybrid/sites/a\tused\t10\t-\np/hybrid/sites/a\tmounted\tno\t-\np/hybrid/sites/a\tmountpoint\t/x\tlocal\n"
        b"p/hybrid/sites/a\thybrid:spec\tmine\tlocal\np/hybrid/sites/a\thybrid:claim\tother\tinherited from p\n"
        b"p/hybrid/sites/a\torigin\tp/elsewhere@s\t-\n"
    )
    found = parsing.dataset("p/hybrid", "p/hybrid/sites/a", rows, {"p/elsewhere@s": Guid(5)})
    assert (found.name, found.properties, found.mountpoint, found.origin) == ("sites/a", {"spec": "mine"}, None, None)


def test_mounts_of_our_datasets_only() -> None:
    """Newest first, with escaped characters read; other pools and other kinds of mounts are not ours."""
    table = (
        b"p/hybrid/sites/a /srv/with\\040blank fuse.zfs rw 0 0\np/hybrid/sites/b /srv/b fuse.zfs rw 0 0\n"
        b"p/hybrid-other/c /srv/c fuse.zfs rw 0 0\np/hybrid/sites/d /srv/d zfs rw 0 0\nproc /proc proc rw 0 0\n"
    )
    assert parsing.fuse_mounts(table, "p/hybrid") == ["/srv/b", "/srv/with blank"]
    assert parsing.fuse_mounts(table, "p/hybrid/sites/b") == ["/srv/b"]


@given(st.builds(
    begin.Begin, st.integers(1, 2**64 - 1).map(Guid), st.none() | st.integers(1, 2**64 - 1).map(Guid),
    st.from_regex(r"[a-z]{1,9}/[a-z/]{1,200}@[a-z0-9-]{1,30}", fullmatch=True), st.integers(0, 2**40), st.booleans(),
    st.integers(0, 2**29), st.booleans(),
))  # fmt: skip
def test_the_first_record_is_read_as_written(head: begin.Begin) -> None:
    """312 bytes, from a sender of either byte order."""
    data = begin.pack(head)
    assert len(data) == begin.LENGTH
    assert begin.parse(data + b"more") == head
    swapped = struct.pack(">IIQQQIIQQ", *struct.unpack("<IIQQQIIQQ", data[:56]))
    assert begin.parse(swapped + data[56:]) == head


@given(st.binary(max_size=700))
def test_other_bytes_are_no_stream(data: bytes) -> None:
    """Nothing but `NotAStream` comes of reading them."""
    with pytest.raises(begin.NotAStream):
        begin.parse(data)


@given(st.text(max_size=80))
def test_no_name_can_be_an_option_or_lead_elsewhere(text: str) -> None:
    """What passes is plain: no dash in front, no slash but one, nothing that ZFS gives a meaning."""
    for check in (names.check_snapshot, names.check_tag, lambda one: names.check_dataset("sites/" + one)):
        try:
            passed = check(text).removeprefix("sites/")
        except StorageError:
            continue
        assert passed and passed[0].isalnum() and not set(passed) & set("/@#% \n\t,=*?\\'\"$")
        assert ".." not in passed and passed.isascii()
