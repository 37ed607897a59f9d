"""The past of a site, through any node: moments, files, comparisons, stashes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid.api import timeline
from hybrid.model import Claim, Guid, NodeId, Snapshot, snapshot_name

NOW_S = 1_790_000_000
SITE = "/v1/sites/blog"


def test_browse_from_any_node(cluster: Any) -> None:
    """A directory as it was, page by page; what is not there, or leads out, is refused."""
    listing = cluster.n3("GET", f"{SITE}/browse?snapshot=60s&path=/var%2Fwww").json
    assert (listing["path"], [entry["kind"] for entry in listing["items"]]) == ("/var/www", ["directory", "file"])
    assert (listing["after"], listing["from_node"]) == (None, "n1")
    page = cluster.n3("GET", f"{SITE}/browse?snapshot=60s&limit=1").json
    assert ([entry["name"] for entry in page["items"]], page["after"]) == (["data"], "data")
    page = cluster.n3("GET", f"{SITE}/browse?snapshot=60s&limit=1&after=data").json
    assert ([entry["name"] for entry in page["items"]], page["after"]) == (["index.php"], None)
    assert cluster.n3("GET", f"{SITE}/browse?snapshot=60s&path=/nowhere").status == 404
    assert [len(node.hosting.calls) for node in (cluster.n1, cluster.n2, cluster.n3)] == [4, 0, 0]


@pytest.mark.parametrize(
    "query",
    [
        "path=/",
        "snapshot=60s&path=../etc",
        "snapshot=60s&path=a/%5Cx2e%5Cx2e/b",
        "snapshot=60s&path=a%5Cx00b",
        "snapshot=60s&path=" + "a" * 4097,
        "snapshot=60s&limit=0",
        "snapshot=60s&limit=99999",
        "snapshot=60s&after=a&aftre=b",
    ],
)
def test_bad_paths_and_pages(cluster: Any, query: str) -> None:
    """Refused before anything is looked at, also where dots or zero bytes hide in escapes."""
    assert cluster.n1("GET", f"{SITE}/browse?{query}").status == 400
    assert cluster.n1.hosting.calls == []


def test_a_replica_answers_where_the_owner_cannot(cluster: Any) -> None:
    """The owner is dead, or does not hold the moment: another node that does answers by itself."""
    cluster.world.live.discard(cluster.n1.id)
    blog = cluster.world.sites[cluster.blog]
    cluster.world.sites[cluster.blog] = msgspec.structs.replace(blog, owner=None, holders=blog.holders[1:])
    assert cluster.n3("GET", f"{SITE}/browse?snapshot=60s").json["from_node"] == "n3"
    cluster.world.live.add(cluster.n1.id)
    cluster.world.sites[cluster.blog] = blog
    cluster.n3.peers.cut.add(cluster.n1.id)
    assert cluster.n3("GET", f"{SITE}/browse?snapshot=60s").json["from_node"] == "n3"


def test_files(cluster: Any) -> None:
    """One file of a snapshot, byte for byte, of any size, never run by a browser; also through another node."""
    guid = cluster.world.history[cluster.blog][2].guid
    large = bytes(range(256)) * 40_000
    cluster.n1.hosting.files = {(cluster.blog, guid, "/a b.php"): b"<?php", (cluster.blog, guid, "/large"): large}
    small = cluster.n3("GET", f"{SITE}/files?snapshot=60s&path=/a%20b.php")
    assert (small.body, small.headers["content-type"]) == (b"<?php", "application/octet-stream")
    assert small.headers["content-disposition"] == "attachment; filename*=UTF-8''a%20b.php"
    assert small.headers["content-security-policy"] == "sandbox"
    for node in (cluster.n1, cluster.n3):
        answer = node("GET", f"{SITE}/files?snapshot=60s&path=/large")
        assert answer.body == large
        assert "x-hybrid-stream" not in answer.headers
    assert len([call for call in cluster.n3.peers.requests if call[1].method == "NEXT"]) == 13
    assert all(source.at == len(source.data) for source in cluster.n1.hosting.sources)


def test_a_folder_as_an_archive(cluster: Any) -> None:
    """As tar or zip, named after the folder, whatever bytes its name has; any other form is refused."""
    guid = cluster.world.history[cluster.blog][2].guid
    cluster.n1.hosting.files = {(cluster.blog, guid, path): b"packed" for path in ("/www/", "/", "/a\\xff")}
    named = cluster.n1("GET", f"{SITE}/files?snapshot=60s&path=/www/&as=tar")
    assert (named.headers["content-type"], named.body) == ("application/x-tar", b"packed")
    assert named.headers["content-disposition"].endswith("''www.tar")
    whole = cluster.n1("GET", f"{SITE}/files?snapshot=60s&path=/&as=zip")
    assert whole.headers["content-disposition"].endswith("''blog.zip")
    odd = cluster.n1("GET", f"{SITE}/files?snapshot=60s&path=/a%5Cxff&as=zip")
    assert odd.headers["content-disposition"].endswith("''a%FF.zip")
    assert cluster.n1("GET", f"{SITE}/files?snapshot=60s&path=/www/&as=rar").status == 400
    assert cluster.n1("GET", f"{SITE}/files?snapshot=60s&path=/missing").status == 404
    assert cluster.n1("HEAD", f"{SITE}/files?snapshot=60s&path=/www/&as=tar").body == b""
    assert cluster.n1.hosting.sources[-1].is_aborted


def test_a_download_that_breaks_off_does_not_look_whole(cluster: Any) -> None:
    """Half a file is never taken for all of it, through whichever node it came."""
    guid = cluster.world.history[cluster.blog][2].guid
    cluster.n1.hosting.files = {(cluster.blog, guid, "/large"): bytes(4_000_000)}
    cluster.n1.hosting.breaks_off_after = 2_000_000
    for node in (cluster.n1, cluster.n3):
        transport = node.begin("GET", f"{SITE}/files?snapshot=60s&path=/large")
        assert transport.value().startswith(b"HTTP/1.1 200")
        assert not transport.value().endswith(b"\r\n0\r\n\r\n")
        assert transport.disconnecting


def test_a_client_that_is_slow_or_leaves(cluster: Any) -> None:
    """Nothing is read ahead for a client that takes nothing; what it left is let go of, here and on the other node."""
    guid = cluster.world.history[cluster.blog][2].guid
    cluster.n1.hosting.files = {(cluster.blog, guid, "/large"): bytes(50_000_000)}
    request = f"GET {SITE}/files?snapshot=60s&path=/large HTTP/1.1\r\nHost: n1\r\nAuthorization: Bearer {cluster.token}"
    for node in (cluster.n1, cluster.n3):
        transport, protocol = node.connect(request.encode() + b"\r\n\r\n", full_at=2_000_000)
        source = cluster.n1.hosting.sources[-1]
        read, written = source.at, len(transport.value())
        assert written < 4_000_000 and read < 4_000_000
        transport.producer.resumeProducing()
        assert source.at > read and len(transport.value()) > written
        node.lose(protocol)
        assert source.is_aborted
    _, protocol = cluster.n1.connect(request.encode() + b"\r\n\r\n", full_at=2_000_000)
    cluster.reactor.advance(121)
    assert cluster.n1.hosting.sources[-1].is_aborted


def test_compare(cluster: Any) -> None:
    """What is different, in pages; to now if not said, and with an honest end."""
    found = cluster.n3("GET", f"{SITE}/diff?from=1h&to=60s&limit=2").json
    assert [(one["change"], one["path"], one["was"]) for one in found["items"]] == [
        ("added", "a", ""),
        ("renamed", "b", "c"),
    ]
    assert (found["total"], found["complete"], found["after"]) == (3, False, 2)
    rest = cluster.n3("GET", f"{SITE}/diff?from=1h&to=60s&limit=2&start=2").json
    assert ([one["path"] for one in rest["items"]], rest["after"]) == (["d"], None)
    history = cluster.world.history[cluster.blog]
    assert cluster.n1.hosting.calls[-1] == ("compare", cluster.blog, history[0].guid, history[2].guid, "/")
    now = cluster.n3("GET", f"{SITE}/diff?from=1h").json
    assert now["new"]["guid"] == str(history[-1].guid)
    assert cluster.n3("GET", f"{SITE}/diff?to=1h").status == 400


def test_restore_in_place_or_beside(cluster: Any) -> None:
    """A copy has a name that says when it is from; the whole site is not restored but rolled back."""
    begun = cluster.n2("POST", f"{SITE}/restore", {"snapshot": "60s", "path": "/index.php"})
    assert cluster.n2("GET", begun.headers["location"]).json["result"]["files"] == 1
    begun = cluster.n2("POST", f"{SITE}/restore", {"snapshot": "60s", "path": "/index.php", "copy": True})
    ended = cluster.n2("GET", begun.headers["location"]).json
    assert ended["result"]["path"] == "/index.php (2026-09-21 14.12.20)"
    for path in ("/", ".", "../x", ""):
        assert cluster.n2("POST", f"{SITE}/restore", {"snapshot": "60s", "path": path}).status == 400


def test_named_and_locked_snapshots(cluster: Any) -> None:
    """A snapshot is taken under a name, found by it in every call, listed with it, and let go again."""
    taken = cluster.n3("POST", f"{SITE}/snapshots", {"name": "before-update", "note": "just in case"}).json
    assert (taken["locked"], taken["label"], taken["note"]) == (True, "before-update", "just in case")
    assert cluster.n3("POST", f"{SITE}/snapshots", {}).json["locked"] is False
    old = cluster.n3("POST", f"{SITE}/marks", {"snapshot": "1h", "name": "old"}).json
    assert old["guid"] == str(cluster.world.history[cluster.blog][0].guid)
    assert cluster.n3("POST", f"{SITE}/marks", {"snapshot": "60s", "name": "old"}).status == 409
    back = cluster.n3("POST", f"{SITE}/rollback", {"to": "before-update"})
    assert cluster.n3("GET", back.headers["location"]).json["result"]["snapshot"] == taken["name"]
    labels = [one["label"] for one in cluster.n2("GET", f"{SITE}/snapshots").json["items"]]
    assert labels == ["", "before-update", "", "", "", "old"]
    assert cluster.n3("DELETE", f"{SITE}/marks/old").status == 204
    assert cluster.n3("DELETE", f"{SITE}/marks/{taken['guid']}").status == 204
    assert cluster.n3("DELETE", f"{SITE}/marks/nobody").status == 404
    assert not any(one["locked"] for one in cluster.n2("GET", f"{SITE}/snapshots").json["items"])


def test_a_stash_is_a_moment(cluster: Any) -> None:
    """Wherever a moment is wanted, the id of a stash stands for its end; the node that has it answers."""
    base = cluster.world.history[cluster.blog][1].guid
    stash = cluster.world.stash(cluster.blog, base)
    cluster.world.history[cluster.blog] = cluster.world.history[cluster.blog][:2]
    cluster.world.stashed_on = {cluster.n3.id}
    cluster.n3.hosting.files = {(cluster.blog, stash.head, "/x"): b"mine"}
    assert cluster.n1("GET", f"{SITE}/stashes").json["items"][0]["id"] == stash.id
    assert cluster.n1("GET", f"{SITE}/files?snapshot={stash.id}&path=/x").body == b"mine"
    assert cluster.n1("GET", f"{SITE}/files?snapshot={stash.id}&path=/y").status == 404
    assert cluster.n1("GET", f"{SITE}/browse?snapshot={stash.head}").json["from_node"] == "n3"
    shown = cluster.n1("GET", f"{SITE}/stashes/{stash.id}").json
    assert ([one["guid"] for one in shown["snapshots"]], shown["from_node"]) == ([str(stash.head)], "n3")
    assert cluster.n1("GET", f"/v1/sites/shop/stashes/{stash.id}").status == 404
    assert cluster.n1("GET", f"{SITE}/stashes/odd").status == 400
    listed = cluster.n1("GET", f"{SITE}/snapshots?per=day").json["items"]
    assert [(one["guid"], one["branches"]) for one in listed] == [
        (str(base), [stash.id]),
        (str(cluster.world.history[cluster.blog][0].guid), []),
    ]


def test_adopt_a_stash(cluster: Any) -> None:
    """An operation on the owner; a stash that nobody has is not found."""
    stash = cluster.world.stash(cluster.blog, cluster.world.history[cluster.blog][1].guid)
    begun = cluster.n3("POST", f"{SITE}/stashes/{stash.id}/adopt")
    assert cluster.n3("GET", begun.headers["location"]).json["result"]["adopted"] == stash.id
    assert cluster.n1.hosting.calls[-1] == ("adopt", cluster.blog, stash.id)
    missing = stash.id.replace("12345678", "87654321")
    assert cluster.n3("POST", f"{SITE}/stashes/{missing}/adopt").status == 404


def test_discard_a_stash(cluster: Any) -> None:
    """It is out of sight at once, listed in the trash, and comes back if wanted; who may only read cannot."""
    stash = cluster.world.stash(cluster.blog, cluster.world.history[cluster.blog][1].guid)
    gone = cluster.n3("DELETE", f"{SITE}/stashes/{stash.id}")
    assert (gone.status, gone.json["until"]) == (202, "2026-09-28T14:13:20Z")
    assert cluster.n3("GET", f"{SITE}/stashes").json["items"] == []
    assert cluster.n3("DELETE", f"{SITE}/stashes/{stash.id}").status == 404
    (listed,) = cluster.n2("GET", f"{SITE}/discarded-stashes").json["items"]
    assert (listed["stash"]["id"], listed["by"]) == (stash.id, "admin")
    assert cluster.n2("POST", f"{SITE}/stashes/{stash.id}/undiscard").status == 204
    assert cluster.n2("POST", f"{SITE}/stashes/{stash.id}/undiscard").status == 409
    assert cluster.n3("GET", f"{SITE}/stashes").json["items"][0]["id"] == stash.id


def test_extract_something(cluster: Any) -> None:
    """One table of a past moment: an operation on whoever has the moment, whose content any node gives."""
    (listed,) = cluster.n3("GET", f"{SITE}/extracts").json["items"]
    assert (listed["name"], listed["parameters"]) == ("table", {"table": "its name"})
    wanted = {"snapshot": "60s", "name": "table", "values": {"table": "entries"}}
    begun = cluster.n3("POST", f"{SITE}/extracts", wanted)
    operation = begun.headers["location"]
    assert cluster.n3("GET", operation).json["state"] == "done"
    content = cluster.n3("GET", f"{operation}/content")
    assert content.body == b"table {'table': 'entries'}"
    assert content.headers["content-disposition"].endswith("''table.sql")
    cluster.n1.hosting.extracted.clear()
    assert cluster.n3("GET", f"{operation}/content").status == 404
    restored = cluster.n3("POST", f"{SITE}/restore", {"snapshot": "60s", "path": "/x"})
    assert cluster.n3("GET", f"{restored.headers['location']}/content").status == 404


def test_preview_a_moment(cluster: Any) -> None:
    """A moment runs behind a name of its own, is listed on every node, and ends when somebody says so."""
    begun = cluster.n3("POST", f"{SITE}/previews", {"snapshot": "60s", "seconds": 600})
    result = cluster.n3("GET", begun.headers["location"]).json["result"]
    assert result["host"] == "preview-aaaaaaaaaaaaaaaa.hybrid.test"
    (listed,) = cluster.n2("GET", f"{SITE}/previews").json["items"]
    assert (listed["node"], listed["until"], listed["by"]) == ("n1", "2026-09-21T14:23:20Z", "admin")
    assert cluster.n2("DELETE", f"{SITE}/previews/{listed['id']}").status == 204
    assert cluster.n2("DELETE", f"{SITE}/previews/{listed['id']}").status == 404
    assert cluster.n3("POST", f"{SITE}/previews", {"snapshot": "60s", "seconds": 59}).status == 400


def history(*ages_s: int) -> tuple[Snapshot, ...]:
    """A snapshot of each age, oldest first; its guid is its age."""
    claim = Claim(1, NodeId("n-" + "a" * 16))
    return tuple(Snapshot(Guid(age), snapshot_name(claim, age), NOW_S - age) for age in sorted(ages_s, reverse=True))


def test_a_list_for_people_has_a_line_per_minute_hour_and_day() -> None:
    """The newest of each stands for the others; what is kept or branches off has a line of its own."""
    day = 86400
    lines = timeline.collapsed(history(5, 10, 70, 7000, 7010, 7020, 3 * day, 3 * day + 1), "age", {Guid(7010)}, NOW_S)
    assert [(line.snapshot.guid, line.stands_for) for line in lines] == [
        (5, 2),
        (70, 1),
        (7000, 1),
        (7010, 1),
        (7020, 1),
        (3 * day, 2),
    ]
    assert len(timeline.collapsed(history(5, 10, 70), "all", set(), NOW_S)) == 3
    assert len(timeline.collapsed(history(5, 10, 70, 90), "hour", set(), NOW_S)) == 1


@given(st.lists(st.integers(0, 10**7), unique=True, max_size=60), st.sampled_from(timeline.PERS))
def test_no_snapshot_is_left_out_of_a_list(ages_s: list[int], per: timeline.Per) -> None:
    """Each is on a line of its own or counted on another's, in order, the newest first."""
    lines = timeline.collapsed(history(*ages_s), per, set(ages_s[:2]), NOW_S)  # type: ignore[arg-type]  # guids are ages
    assert sum(line.stands_for for line in lines) == len(ages_s)
    told = [line.snapshot.guid for line in lines]
    assert told == sorted(told) and {*ages_s[:2]} <= {*told}
    assert (min(ages_s) in told) if ages_s else not told


def test_a_list_by_what_there_is_not(cluster: Any) -> None:
    """The nearest word is offered."""
    refused = cluster.n1("GET", f"{SITE}/snapshots?per=mintue")
    assert (refused.status, refused.json["hint"]) == (400, 'did you mean "minute"?')
