"""The pages, as a browser without script sees them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest

from hybrid.api import cookies
from hybrid.web.forms import FORMS
from hybrid.web.table import PAGES

HTML = "text/html,application/xhtml+xml,*/*;q=0.8"
VOID = frozenset(("meta", "link", "input", "br", "img"))


class Seen(HTMLParser):
    """A page, read strictly: every tag is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.forms: list[tuple[str, dict[str, str]]] = []
        self.labels = self.inputs = 0
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        given = {name: value or "" for name, value in attrs}
        if tag not in VOID:
            self.open.append(tag)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "form":
            self.forms.append((given.get("action", ""), {}))
        if tag in ("input", "select"):
            if self.forms:
                self.forms[-1][1][given.get("name", "")] = given.get("value", "")
            if given.get("type") != "hidden":
                self.inputs += 1
                assert "label" in self.open, f"nobody says what {given.get('name')} is"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """See `HTMLParser`."""
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """See `HTMLParser`."""
        self.text += data


@pytest.fixture
def browser(cluster: Any) -> Any:
    """Looks at pages of n1, signed in with the token of `cluster`."""
    cluster.n1.api.follow(cluster.world.view(cluster.n1.id))
    return Browser(cluster)


class Browser:
    """What a browser sends."""

    def __init__(self, cluster: Any) -> None:
        self.cluster, self.token = cluster, cluster.token
        self.said: dict[str, str] = {}

    def look(self, path: str) -> Any:
        """GET."""
        cookie = f"{cookies.NAME}={self.token}" if self.token else ""
        return self.cluster.n1("GET", path, headers={"Authorization": "", "Cookie": cookie, "Accept": HTML})

    def page(self, path: str) -> Seen:
        """A page that is there."""
        answer = self.look(path)
        assert answer.status == 200, answer.body
        return Seen(answer.body.decode())

    def send(self, path: str, fields: dict[str, str], **headers: str) -> Any:
        """POST a form."""
        sent = {
            "Authorization": "",
            "Accept": HTML,
            "Cookie": f"{cookies.NAME}={self.token}",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return self.cluster.n1("POST", path, headers={**sent, **headers}, raw=urlencode(fields).encode())

    def press(self, on: str, action: str, **fields: str) -> Any:
        """Send the form `action` of the page `on`, with some of its fields filled in."""
        form = next(given for found, given in self.page(on).forms if found == f"/do/{action}")
        return self.send(f"/do/{action}", {**form, **fields}, Referer=f"https://n1{on}")


def every_page(cluster: Any) -> list[str]:
    """A path for each page there is."""
    guid = cluster.world.history[cluster.blog][0].guid
    names = {"site": "blog", "node": "n2", "moment": str(guid)}
    begun = cluster.n1("POST", "/v1/sites/blog/snapshots", {"name": "", "keep": False})
    assert begun.status == 201
    operation = cluster.n1("POST", "/v1/sites/blog/rollback", {"to": str(guid)}).json["id"]
    names["operation"] = operation
    return [re.sub(r"\{([a-z]+)\}", lambda found: names[found[1]], path) for path in PAGES]


def test_every_page_is_whole_and_leads_only_to_pages_that_are_there(browser: Any, cluster: Any) -> None:
    """Whoever follows links finds what they promise, and every field says what it is for."""
    paths = every_page(cluster)
    led: set[str] = set()
    for path in paths:
        seen = browser.page(path)
        led |= {link for link in seen.links if link.startswith("/") and not link.startswith("/v1/")}
    for link in sorted(led):
        assert browser.look(link.partition("#")[0]).status == 200, link


def test_the_overview_says_how_the_cluster_is(browser: Any) -> None:
    """One look: the sentence of health, each server, and what happened."""
    seen = browser.page("/")
    assert "3 nodes" in seen.text and "2 sites" in seen.text
    assert {"/nodes/n1", "/nodes/n2", "/nodes/n3"} <= set(seen.links)


def test_a_server_that_died_is_seen_by_a_page_of_another(browser: Any, cluster: Any) -> None:
    """The page of a live node tells of the dead one, and still works."""
    cluster.world.live.discard(cluster.n3.id)
    cluster.n1.api.follow(cluster.world.view(cluster.n1.id))
    assert "down" in browser.page("/nodes").text
    assert "It does not answer" in browser.page("/operations").text


def test_nobody_sees_a_page_without_signing_in(browser: Any) -> None:
    """A browser that is not signed in is asked for a token, and comes to what it wanted afterwards."""
    browser.token = ""
    answer = browser.look("/sites/blog?x=1")
    assert answer.status == 303 and answer.headers["location"] == "/sign-in?back=/sites/blog%3Fx%3D1"
    form = browser.page(answer.headers["location"]).forms[0][1]
    assert form["back"] == "/sites/blog?x=1"


def test_signing_in_and_out(browser: Any, cluster: Any) -> None:
    """The right token opens, a wrong one is refused with a reason, and signing out ends it."""
    refused = browser.send("/sign-in", {"token": "hybpat_wrong", "back": "/sites"}, Cookie="")
    assert refused.status == 401 and b"not valid" in refused.body and "set-cookie" not in refused.headers
    entered = browser.send("/sign-in", {"token": cluster.token, "back": "/sites"}, Cookie="")
    assert entered.status == 303 and entered.headers["location"] == "/sites"
    assert all(word in entered.headers["set-cookie"] for word in ("Secure", "HttpOnly", "SameSite=Lax"))
    left = browser.send("/sign-out", {"proof": cookies.proof(cluster.token)})
    assert left.status == 303 and "Max-Age=0" in left.headers["set-cookie"]


@pytest.mark.parametrize("back", ["https://evil.test/", "//evil.test", "/\\evil.test", "javascript:x", "/a\r\nX: y"])
def test_signing_in_leads_nowhere_else(browser: Any, cluster: Any, back: str) -> None:
    """A crafted link cannot send a signed-in person to another site."""
    entered = browser.send("/sign-in", {"token": cluster.token, "back": back}, Cookie="")
    assert entered.headers["location"] == "/"


def test_a_revoked_token_signs_out(browser: Any, cluster: Any) -> None:
    """As soon as the token is revoked, its browsers see nothing more."""
    cluster.shared.values.clear()
    assert browser.look("/").status == 303


@pytest.mark.parametrize("proof", ["", "0" * 64])
def test_a_form_of_another_site_does_nothing(browser: Any, cluster: Any, proof: str) -> None:
    """The cookie alone moves nothing."""
    answer = browser.send("/do/stop-site", {"site": "blog", "proof": proof})
    assert answer.status == 403
    assert cluster.world.sites[cluster.blog].spec.wanted == "running"


def test_a_form_sent_by_another_origin_is_refused(browser: Any, cluster: Any) -> None:
    """Not even with a proof that leaked."""
    fields = {"site": "blog", "proof": cookies.proof(cluster.token)}
    assert browser.send("/do/stop-site", fields, Origin="https://evil.test").status == 403
    assert browser.send("/do/stop-site", fields, Origin="null").status == 403


def test_the_cookie_may_only_read_the_api(browser: Any, cluster: Any) -> None:
    """Downloads work from a page; a program that writes has to send the token itself."""
    headers = {"Authorization": "", "Cookie": f"hybrid={cluster.token}"}
    assert cluster.n1("GET", "/v1/sites", headers=headers).status == 200
    assert cluster.n1("POST", "/v1/sites/blog/stop", {}, headers=headers).status == 401


def test_a_site_is_stopped_from_its_page(browser: Any, cluster: Any) -> None:
    """One click; the browser is back on the page it came from."""
    answer = browser.press("/sites/blog", "stop-site")
    assert answer.status == 303 and answer.headers["location"] == "/sites/blog"
    assert cluster.world.sites[cluster.blog].spec.wanted == "stopped"


def test_a_site_goes_back_after_it_was_said_what_that_does(browser: Any, cluster: Any) -> None:
    """Before the button, the numbers; after it, the operation with its steps."""
    guid = cluster.world.history[cluster.blog][0].guid
    confirm = browser.page(f"/sites/blog/past/{guid}/rollback")
    assert "3 paths" in confirm.text and "you can undo this" in confirm.text
    answer = browser.press(f"/sites/blog/past/{guid}/rollback", "rollback")
    assert answer.status == 303
    assert "done" in browser.page(answer.headers["location"]).text
    assert "Set aside" in browser.page("/sites/blog/past").text


def test_a_button_clicked_twice_does_it_once(browser: Any, cluster: Any) -> None:
    """The second click leads to the same operation."""
    guid = cluster.world.history[cluster.blog][0].guid
    path = f"/sites/blog/past/{guid}/rollback"
    form = next(given for found, given in browser.page(path).forms if found == "/do/rollback")
    first, second = browser.send("/do/rollback", form), browser.send("/do/rollback", form)
    assert first.headers["location"] == second.headers["location"]
    assert len([call for call in cluster.n1.hosting.calls if call[0] == "rollback"]) == 1


def test_a_file_of_the_past_is_got_and_restored(browser: Any, cluster: Any) -> None:
    """From the list of files: the download is the file, the button brings a copy back."""
    guid = cluster.world.history[cluster.blog][0].guid
    cluster.n1.hosting.files[cluster.blog, guid, "/index.php"] = b"<?php"
    seen = browser.page(f"/sites/blog/past/{guid}")
    href = next(link for link in seen.links if "index.php" in link and link.startswith("/v1/"))
    got = browser.look(href)
    assert got.body == b"<?php" and got.headers["content-security-policy"] == "sandbox"
    form = next(given for found, given in seen.forms if found == "/do/restore" and given["path"] == "/index.php")
    assert form["copy"] == "1"
    assert browser.send("/do/restore", form).status == 303
    assert any(call[0] == "restore" for call in cluster.n1.hosting.calls)


def test_what_is_shown_once_is_shown(browser: Any) -> None:
    """A new token stands on the page that its form leads to, and nowhere else."""
    answer = browser.press("/settings", "token", name="panel", rights="read")
    assert answer.status == 200 and b"hybpat_" in answer.body
    assert b"hybpat_" not in browser.look("/settings").body.replace(b"hybpat_\xe2\x80\xa6", b"")


def test_who_may_only_read_is_offered_nothing_else(browser: Any, cluster: Any) -> None:
    """No button that would be refused; and a form sent anyway is."""
    made = cluster.n1("POST", "/v1/tokens", {"name": "looker", "rights": "read"}).json
    browser.token = made["token"]
    for path in every_page(cluster):
        assert not [found for found, _ in browser.page(path).forms if found.startswith("/do/")], path
    assert browser.send("/do/stop-site", {"site": "blog", "proof": cookies.proof(browser.token)}).status == 403


def test_names_of_sites_and_files_never_become_markup(browser: Any, cluster: Any) -> None:
    """Whatever a tenant calls things, it is text."""
    import msgspec

    seen = cluster.world.sites[cluster.blog]
    cluster.world.sites[cluster.blog] = msgspec.structs.replace(seen, trouble="<script>alert(1)</script>")
    for path in ("/", "/sites", "/sites/blog"):
        assert b"<script>alert" not in browser.look(path).body
    assert b"<script>alert" not in browser.look("/sites/%3Cscript%3Ealert(1)%3C%2Fscript%3E").body


@pytest.mark.parametrize("path", ["/nowhere", "/sites/nosuch", "/sites/blog/past/99999"])
def test_what_is_not_there_is_said_so(browser: Any, path: str) -> None:
    """404, on a page with the way back."""
    answer = browser.look(path)
    assert answer.status == 404
    assert Seen(answer.body.decode()).links


@pytest.mark.parametrize(
    ("name", "fields", "told"),
    [
        ("change-site", {"site": "blog", "quota_bytes": "much"}, b"size"),
        ("move-site", {"to": "n2"}, b"lacks site"),
        ("nosuch", {}, b"nothing at"),
    ],
)
def test_a_bad_form_is_told_why(browser: Any, cluster: Any, name: str, fields: dict[str, str], told: bytes) -> None:
    """What, why, what to try."""
    answer = browser.send(f"/do/{name}", {**fields, "proof": cookies.proof(cluster.token)})
    assert answer.status in (400, 404) and told in answer.body


def test_pages_are_small_and_allow_nothing_foreign(browser: Any, cluster: Any) -> None:
    """At most 60 KB with style and script; no inline script could run even if one got in; not to be framed."""
    static = sum(len(browser.look(f"/static/{name}").body) for name in ("style.css", "live.js"))
    for path in every_page(cluster):
        answer = browser.look(path)
        assert len(answer.body) + static < 60_000
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert b"<script>" not in answer.body and b"style=" not in answer.body and b"onclick" not in answer.body


def test_static_files_are_sent_once(browser: Any, cluster: Any) -> None:
    """What did not change is not sent again; what is not there is 404."""
    tag = browser.look("/static/style.css").headers["etag"]
    assert cluster.n1("GET", "/static/style.css", headers={"If-None-Match": tag}).status == 304
    assert browser.look("/static/../service.py").status == 404


def test_every_form_is_a_call_that_the_api_has(cluster: Any) -> None:
    """No button leads to nothing."""
    from hybrid.api.table import ROUTES

    known = {(route.method, route.template) for route in ROUTES}
    assert {(form.method, form.template) for form in FORMS.values()} <= known
