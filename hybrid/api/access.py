"""
Who may ask for what. Pure.

An operator may ask for everything. Who is bound to a site, or to the sites of an account, sees nothing else: to them
others' sites, servers and tokens do not exist, so the answer is 404 and no hint names anything of others.
"""

from __future__ import annotations

from dataclasses import replace

from hybrid.api.calls import Actor, Call
from hybrid.api.names import shown, site_reference
from hybrid.api.problems import Refusal, problem
from hybrid.errors import NoSuchSite
from hybrid.model import SiteId
from hybrid.view import SiteView, View


def may_see(actor: Actor, site: SiteView) -> bool:
    """Whether `site` exists for `actor`."""
    if actor.site:
        return actor.site == site.spec.id
    return not actor.account or actor.account == site.spec.account


def may_see_id(actor: Actor, site: str | None, view: View) -> bool:
    """The same of the site with that id, where it is known; what is about no site is for operators."""
    if not actor.is_bound:
        return True
    known = view.sites.get(SiteId(site)) if site else None
    return known is not None and may_see(actor, known)


def seen_by(actor: Actor, view: View) -> list[SiteView]:
    """The sites that exist for `actor`."""
    return [site for site in view.sites.values() if may_see(actor, site)]


def narrowed(for_tenants: bool, call: Call, view: View) -> Call:
    """
    The call as its actor may make it: who is bound names sites by their ids from here on.

    Args:
        for_tenants: Whether its route is for them at all.

    Raises:
        Refusal: 404, the route is none for them.
        NoSuchSite: Nor is the site.
        BadRequest: No site could be called so.
    """
    if not call.actor.is_bound:
        return call
    if not for_tenants:
        raise Refusal(problem(404, "no-such-path", f"there is nothing at {shown(call.path)}"))
    if "site" not in call.params:
        return call
    reference = site_reference(call.params["site"])
    found = [site for site in seen_by(call.actor, view) if reference in (site.spec.id, site.spec.name)]
    if not found:
        raise NoSuchSite(f"there is no site {shown(reference)}")
    return replace(call, params={**call.params, "site": found[0].spec.id})
