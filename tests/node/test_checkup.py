"""A site that hangs is started again: whole nodes on one clock."""

from __future__ import annotations

from collections.abc import Sequence

from hybrid.ports import ContainerSpec, Executed
from tests.node.cluster import Cluster

MANIFEST = '{"name": "static", "health": {"command": ["works"], "every_s": 10.0, "within_s": 20.0}}'


def test_a_site_that_hangs_is_started_again(cluster: Cluster) -> None:
    """Its container runs and answers nothing: after three questions it is started again, and people are told why."""
    a, hangs, told = cluster.members["a"], [False], []
    cluster.run(a.pool.set_properties("images/static-1", {"manifest": MANIFEST}))
    cluster.run(a.core.shelf.load())

    def command(spec: ContainerSpec, argv: Sequence[str], stdin: bytes) -> Executed:
        return Executed(int(hangs[0]), b"", b"no answer")

    a.containers.command = command
    a.core.told.append(lambda kind, site, text: told.append((kind, text)) if kind == "restarted" else None)
    spec = cluster.create()
    cluster.wait(120)
    assert told == []
    hangs[0] = True
    cluster.wait(45)
    assert [kind for kind, _ in told] == ["restarted"]
    assert "no answer" in told[0][1]
    hangs[0] = False
    cluster.wait(30)
    assert a.site(spec).state == "serving"
    assert len(told) == 1
