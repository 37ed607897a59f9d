"""What is set up once: images, tokens, new servers; and the sites in the trash."""

from __future__ import annotations

from twisted.web.template import tags

from hybrid.api import schema
from hybrid.web import words
from hybrid.web.layout import Content, Page, Visitor, choice, field, form, moment, section, table
from hybrid.web.reader import Reader
from hybrid.web.visits import Visit


async def show(read: Reader, visit: Visit) -> Page:
    """All of it."""
    images = await read.get(schema.Page[schema.Image], "/v1/images")
    tokens = await read.get(schema.Page[schema.TokenAnswer], "/v1/tokens")
    deleted = await read.get(schema.Page[schema.DeletedSite], "/v1/deleted-sites")
    who = visit.visitor
    body: list[Content] = [
        section("Add a server", *joining(who)),
        section("Images", *imported(who, images)),
        section("Tokens", *given(who, tokens)),
        section("Deleted sites", trash(who, deleted)),
    ]
    return Page(title="Settings", body=body)


def joining(who: Visitor) -> list[Content]:
    """How a server comes in."""
    told = "Make a token, then run the command it comes with on the new server. It is good for half an hour, once."
    only = (field("Only for the name", "name"), field("Only for the place", "dc"))
    return [tags.p(told), form(who, "join-token", "Make a join token", *only)]


def imported(who: Visitor, images: schema.Page[schema.Image]) -> list[Content]:
    """What sites can be made from."""
    rows = ([one.name, one.kind, words.size(one.memory_bytes), one.description] for one in images.items)
    built = field("A built image", "name", required=True, hint="static, php, …")
    return [
        table(("Image", "Kind", "Memory", "Description"), rows, "No image was imported yet."),
        form(who, "import-image", "Import", built),
    ]


def given(who: Visitor, tokens: schema.Page[schema.TokenAnswer]) -> list[Content]:
    """Who may call the API."""
    rows: list[list[Content]] = [
        [
            one.name,
            one.rights,
            moment(one.created_at, tokens.as_of),
            form(who, "revoke-token", "Revoke", about={"token": one.id}),
        ]
        for one in tokens.items
    ]
    fields = (field("For", "name", required=True), choice("Rights", "rights", ("admin", "read")))
    return [
        table(("Token", "Rights", "Made", ""), rows, "There is no token."),
        form(who, "token", "Make a token", *fields),
    ]


def trash(who: Visitor, deleted: schema.Page[schema.DeletedSite]) -> Content:
    """Sites that can be brought back."""
    rows: list[list[Content]] = [
        [
            one.name,
            moment(one.deleted_at, deleted.as_of),
            words.clock(one.until),
            form(who, "undelete-site", "Bring it back", about={"site": one.id}),
        ]
        for one in deleted.items
    ]
    return table(("Site", "Deleted", "Kept until", ""), rows, "The trash is empty.")
