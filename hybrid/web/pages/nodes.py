"""Servers."""

from __future__ import annotations

from urllib.parse import quote

from twisted.web.template import tags

from hybrid.api import schema
from hybrid.api.transfers import TransferAnswer
from hybrid.web import words
from hybrid.web.layout import Content, Page, bar, facts, form, link, section, state, table
from hybrid.web.pages import sites
from hybrid.web.pages.overview import running
from hybrid.web.reader import Reader
from hybrid.web.visits import Visit


async def show(read: Reader, visit: Visit) -> Page:
    """All of them."""
    nodes = await read.get(schema.Page[schema.Node], "/v1/nodes")
    rows: list[list[Content]] = [
        [
            link(f"/nodes/{node.name}", node.name),
            state(node.state),
            node.dc,
            node.address,
            str(node.sites),
            str(node.copies),
            bar(node.size_bytes - node.free_bytes, node.size_bytes),
            f"{node.load:.2f}",
            node.release,
        ]
        for node in nodes.items
    ]
    heads = ("Server", "State", "Place", "Address", "Sites", "Copies", "Pool", "Load", "Release")
    body: list[Content] = [
        table(heads, rows, "There is no server.", ("Sites", "Copies", "Load")),
        tags.p(link("/settings", "Add a server: make a join token")),
    ]
    return Page(title="Servers", body=body)


async def one(read: Reader, visit: Visit) -> Page:
    """One server, what it runs and what it is doing."""
    name = visit.names["node"]
    node = await read.get(schema.Node, f"/v1/nodes/{quote(name, safe='')}")
    held = await read.get(schema.Page[schema.Site], "/v1/sites", node=name)
    body: list[Content] = [
        tags.p(state(node.state), f" {node.address} in {node.dc}", class_="lead"),
        facts(
            [
                ("Sites", f"{node.sites} of its own, {words.count(node.copies - node.sites, 'copy')} of others"),
                ("Pool", bar(node.size_bytes - node.free_bytes, node.size_bytes)),
                ("Storage", "answers" if node.storage_ok else "does not answer"),
                ("Load", f"{node.load:.2f}"),
                ("Release", node.release),
            ]
        ),
        section("Its sites", table(sites.HEADS, (sites.row(site) for site in held.items), "It owns no site.")),
    ]
    if node.state == "up":
        body += await _busy(read, name)
    else:
        about = {"node": name}
        words_ = "It is refused where something would be lost with this server."
        body.append(
            section(
                "Remove it",
                tags.p(words_),
                form(visit.visitor, "remove-node", f"Remove {name}", about=about, grave=True),
            )
        )
    return Page(title=name, body=body)


WAYS = {"send": "to", "receive": "from", "copy": "within", "restore": "within", "store": "to", "fetch": "from"}


async def _busy(read: Reader, name: str) -> list[Content]:
    """What a live server is doing."""
    transfers = await read.get(schema.Page[TransferAnswer], "/v1/transfers", node=name)
    operations = await read.get(schema.Page[schema.Operation], "/v1/operations", node=name, limit=10)
    rows: list[list[Content]] = [
        [
            WAYS[stream.way],
            stream.node,
            stream.site_name or stream.dataset,
            bar(stream.bytes, stream.size_bytes),
            words.size(stream.bytes_per_s) + "/s",
            words.duration(stream.left_s),
        ]
        for stream in transfers.items
    ]
    heads = ("", "Where", "What", "Done", "Rate", "Left")
    return [
        section("Streams", table(heads, rows, "Nothing is being copied.")),
        section("Operations", running(operations.items, operations.as_of)),
    ]
