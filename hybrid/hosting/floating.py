"""
Which floating addresses a node has: each is the first live node's of those that may have it. Pure.

Clients that keep an address longer than its TTL, or never ask DNS, recover by this too. All nodes pass requests on, so
it does not matter which of them has the address.
"""

from __future__ import annotations

from collections.abc import Iterable

from hybrid.settings import Floating
from hybrid.view import View


def live(one: Floating, view: View) -> tuple[str, ...]:
    """Names of the live nodes that may have `one`, in the order in which they get it."""
    there = {node.name for node in view.nodes.values() if node.live}
    return tuple(name for name in one.nodes if name in there)


def held(floating: Iterable[Floating], view: View) -> tuple[Floating, ...]:
    """Those that this node has."""
    me = view.nodes[view.me].name if view.me in view.nodes else ""
    return tuple(one for one in floating if live(one, view)[:1] == (me,))
