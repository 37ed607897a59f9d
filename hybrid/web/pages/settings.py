"""What is set up once: images, tokens, new servers; and the sites in the trash."""

from __future__ import annotations

from twisted.web.template import tags

from hybrid.api import schema
from hybrid.web import words
from hybrid.web.layout import Content, Page, choice, field, form, moment, section, table
from hybrid.web.reader import Reader
from hybrid.web.visits import Visit


async def show(read: Reader, visit: Visit) -> Page:
    """All of it."""
    images = await read.get(schema.Page[schema.Image], "/v1/images")
    tokens = await read.get(schema.Page[schema.TokenAnswer], "/v1/tokens")
    deleted = await read.get(schema.Page[schema.DeletedSite], "/v1/deleted-sites")
    who = visit.visitor
    body: list[Content] = [
        section(
            "Add a server",
            tags.p(
                "Make a token, then run the command it comes with on the new server. It is good for half an hour, once."
            ),
            form(
                who,
                "join-token",
                "Make a join token",
                field("Only for the name", "name"),
                field("Only for the place", "dc"),
            ),
        ),
        section(
            "Images",
            table(
                ("Image", "Kind", "Memory", "Description"),
                ([one.name, one.kind, words.size(one.memory_bytes), one.description] for one in images.items),
                "No image was imported yet.",
            ),
            form(who, "import-image", "Import", field("A built image", "name", required=True, hint="static, php, …")),
        ),
        section(
            "Tokens",
            table(
                ("Token", "Rights", "Made", ""),
                (
                    [
                        one.name,
                        one.rights,
                        moment(one.created_at, tokens.as_of),
                        form(who, "revoke-token", "Revoke", about={"token": one.id}),
                    ]
                    for one in tokens.items
                ),
                "There is no token.",
            ),
            form(
                who,
                "token",
                "Make a token",
                field("For", "name", required=True),
                choice("Rights", "rights", ("admin", "read")),
            ),
        ),
        section(
            "Deleted sites",
            table(
                ("Site", "Deleted", "Kept until", ""),
                (
                    [
                        one.name,
                        moment(one.deleted_at, deleted.as_of),
                        words.clock(one.until),
                        form(who, "undelete-site", "Bring it back", about={"site": one.id}),
                    ]
                    for one in deleted.items
                ),
                "The trash is empty.",
            ),
        ),
    ]
    return Page(title="Settings", body=body)
