"""What all pages share: frame, tables, states, times, forms. Builds trees of tags, which escape every text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from twisted.web.template import Tag, tags

from hybrid.web import words
from hybrid.web.forms import FORMS

Content = Tag | str | list["Content"]
NAVIGATION = (
    ("/", "Overview"),
    ("/sites", "Sites"),
    ("/nodes", "Servers"),
    ("/operations", "Operations"),
    ("/settings", "Settings"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a page function returns."""

    title: str
    body: Content
    changes: bool = True
    """It is worth looking again when something happened in the cluster."""
    soon: bool = False
    """It will be different in a moment: a browser without script looks again by itself."""
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who looks."""

    name: str
    may_write: bool
    is_bound: bool = False
    """They come by a link: only some sites exist for them."""
    proof: str
    """Carried by each form, see `hybrid.api.cookies`."""
    nonce: str
    """Makes each form sent at most once, however often it is clicked."""


def document(page: Page, path: str, node: str, visitor: Visitor | None) -> Tag:
    """The whole page; `node` answers it."""
    live = page.changes and visitor is not None and not visitor.is_bound
    head = [
        tags.meta(charset="utf-8"),
        tags.meta(name="viewport", content="width=device-width, initial-scale=1"),
        tags.title(f"{page.title} · Hybrid"),
        tags.link(rel="stylesheet", href="/static/style.css"),
        tags.link(rel="icon", href="data:,"),
    ]
    if page.soon:
        head.append(tags.noscript(tags.meta(**{"http-equiv": "refresh", "content": "2"})))
    if live:
        head.append(tags.script(src="/static/live.js", defer="defer"))
    body = [
        tags.a("Skip to the content", href="#content", class_="skip"),
        tags.header(tags.strong("Hybrid"), *_navigation(path, visitor), class_="bar"),
        Tag("main")(tags.h1(page.title), page.body, id="content", tabindex="-1"),
        tags.footer(f"answered by {node}" if node else ""),
    ]
    return tags.html(tags.head(*head), tags.body(*body, **({"data-soon": "1"} if page.soon else {})), lang="en")


def _navigation(path: str, visitor: Visitor | None) -> list[Tag]:
    if visitor is None:
        return []
    links = [
        tags.a(title, href=href, **({"aria-current": "page"} if _is_in(path, href) else {}))
        for href, title in (NAVIGATION[1:2] if visitor.is_bound else NAVIGATION)
    ]
    leave = tags.form(
        hidden("proof", visitor.proof),
        tags.button("Sign out", class_="plain"),
        method="post",
        action="/sign-out",
        class_="leave",
    )
    return [tags.nav(*links, **{"aria-label": "Main"}), tags.span(visitor.name, class_="who"), leave]


def _is_in(path: str, href: str) -> bool:
    return path == href if href == "/" else path == href or path.startswith(href + "/")


def state(word: str) -> Tag:
    """A state, in its colour."""
    return tags.span(word, class_=f"state {words.STATES.get(word, '')}")


def moment(at: str, now: str) -> Tag:
    """A time, told as an age."""
    return tags.time(words.ago(at, now), datetime=at, title=words.clock(at))


def link(href: str, text: str) -> Tag:
    """A link within these pages."""
    return tags.a(text, href=href)


def table(heads: Sequence[str], rows: Iterable[Sequence[Content]], nothing: str, numbers: Sequence[str] = ()) -> Tag:
    """A table, or `nothing` in words; columns named in `numbers` are right-aligned."""
    aligned = [{"class": "number"} if head in numbers else {} for head in heads]
    lines = [
        tags.tr(
            *(tags.td(cell, **{**how, "data-head": head}) for cell, how, head in zip(row, aligned, heads, strict=True))
        )
        for row in rows
    ]
    if not lines:
        return tags.p(nothing, class_="nothing")
    titles = (tags.th(head, scope="col", **how) for head, how in zip(heads, aligned, strict=True))
    return tags.table(tags.thead(tags.tr(*titles)), tags.tbody(*lines))


def facts(pairs: Iterable[tuple[str, Content]]) -> Tag:
    """Names and what they are."""
    return tags.dl(*(part for name, value in pairs for part in (tags.dt(name), tags.dd(value))))


def section(title: str, *content: Content) -> Tag:
    """A part of a page."""
    return tags.section(tags.h2(title), *content)


def hidden(name: str, value: str) -> Tag:
    """A field nobody sees."""
    return tags.input(type="hidden", name=name, value=value)


def field(label: str, name: str, value: str = "", *, hint: str = "", required: bool = False, kind: str = "text") -> Tag:
    """A labelled field."""
    more = {"required": "required"} if required else {}
    told = [tags.small(hint)] if hint else []
    return tags.label(tags.span(label), tags.input(type=kind, name=name, value=value, **more), *told)


def tick(label: str, name: str) -> Tag:
    """A box to tick."""
    return tags.label(tags.input(type="checkbox", name=name, value="1"), f" {label}", class_="tick")


def choice(label: str, name: str, options: Iterable[str], *, empty: str = "") -> Tag:
    """One of `options`; `empty` stands for saying nothing."""
    first = [tags.option(empty, value="")] if empty else []
    return tags.label(
        tags.span(label), tags.select(*first, *(tags.option(one, value=one) for one in options), name=name)
    )


def form(
    visitor: Visitor, name: str, button: str, *inputs: Tag, about: Mapping[str, str] | None = None, grave: bool = False
) -> Content:
    """A form that does `name` of `hybrid.web.forms`; nothing for who may only read."""
    assert name in FORMS, name
    if not visitor.may_write:
        return ""
    fields = [hidden(key, value) for key, value in (about or {}).items()]
    return tags.form(
        hidden("proof", visitor.proof),
        hidden("nonce", visitor.nonce),
        *fields,
        *inputs,
        tags.button(button, class_="grave" if grave else "", type="submit"),
        method="post",
        action=f"/do/{name}",
        class_="act",
    )


def bar(part: int, whole: int | None) -> Tag:
    """How much of `whole` is used, as a bar and in words."""
    told = words.size(part) + (f" of {words.size(whole)}" if whole else "")
    if not whole:
        return tags.span(told)
    return tags.span(
        Tag("meter")(told, value=str(part), min="0", max=str(whole), high=str(int(whole * 0.9))), " ", told
    )
