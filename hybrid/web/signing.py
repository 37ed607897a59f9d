"""The page on which a browser signs in, and pages that tell of a problem or of something shown once. Builds tags."""

from __future__ import annotations

import msgspec
from twisted.web.template import tags

from hybrid.api.problems import Problem
from hybrid.web.layout import Content, Page, facts, field, hidden, link
from hybrid.web.pages.operations import problem as told


def sign_in(back: str, refused: Problem | None = None) -> Page:
    """Asks for a token; afterwards the browser goes to `back`."""
    form = tags.form(
        hidden("back", back),
        field("Token", "token", required=True, kind="password", hint="hybpat_…; `hybrid init` wrote one to admin.json"),
        tags.button("Sign in"),
        method="post",
        action="/sign-in",
        class_="act",
    )
    body: list[Content] = [told(refused), form] if refused else [form]
    return Page(title="Sign in", body=body, changes=False, status=401 if refused else 200)


def used_up() -> Page:
    """Of a link that leads nowhere any more."""
    why = "It can be opened once, within a minute. Ask for a new one where you found it."
    return Page(title="This link was used already", body=tags.p(why, class_="lead"), changes=False, status=401)


def refusal(problem: Problem, back: str) -> Page:
    """What went wrong, and the way back."""
    body: list[Content] = [told(problem), tags.p(link(back, "Back"))]
    return Page(title="That did not work", body=body, changes=False, status=problem.status)


def shown_once(title: str, answer: bytes, back: str) -> Page:
    """An answer that is told once."""
    pairs = msgspec.json.decode(answer, type=dict[str, str])
    body: list[Content] = [
        tags.p("Copy it now: it is not shown again.", class_="lead"),
        facts((name, tags.code(value)) for name, value in pairs.items()),
        tags.p(link(back, "Back")),
    ]
    return Page(title=title, body=body, changes=False)


def local(path: str) -> str:
    """`path` if it leads to a page of ours and nowhere else, else the overview."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() else "/"
