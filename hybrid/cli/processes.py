"""The processes of a node among the words of the command line. Pure."""

from __future__ import annotations

PROCESSES = {
    "run": ("hybrid.supervise", "all processes of this node, supervised"),
    "proxy": ("hybrid_proxy.main", "the front doors"),
    "guardian": ("hybrid.strict.guardian", "freezes strict sites when the node process hangs"),
    "dns": ("hybrid_dns.main", "authoritative DNS"),
    "demo": ("hybrid.lab.demo", "a cluster on this machine, until Ctrl-C"),
}
"""Verb to the module whose `main(argv)` it is; `hybrid.main` runs them before any grammar is built."""


def process_of(argv: list[str]) -> tuple[str, list[str]] | None:
    """`(module, its arguments)` when the command line is a process of a node, else `None`."""
    if not argv:
        return None
    if argv[0] == "dns" and not (argv[1:] and argv[1].startswith("--") and argv[1] != "--help"):
        return None  # `dns` is a noun of the command line too
    if argv[0] in PROCESSES:
        return PROCESSES[argv[0]][0], argv[1:]
    if argv[0] != "node" or argv[1:2] in (["-h"], ["--help"]):
        return None
    if len(argv) == 1 or argv[1].startswith("-"):
        return "hybrid.node", argv[1:]
    return ("hybrid.node", argv[2:]) if argv[1] == "run" else None
