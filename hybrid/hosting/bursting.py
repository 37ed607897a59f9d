"""
Moves neighbours of a busy site away, one after the other, as `hybrid.cluster.bursting` decides; tells why. Shell.

Only sites that this node owns, only to nodes that hold a fresh copy, so that what is moved is a claim and no data.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hybrid.cluster import bursting
from hybrid.cluster.bursting import HOUR_S, Here, Host, Limits, Move, Resident
from hybrid.cluster.groups import Group
from hybrid.cluster.loads import DIMENSIONS, Loads
from hybrid.cluster.placement import kept_apart, refuses
from hybrid.errors import Conflict, HybridError
from hybrid.hosting.holdings import Holdings
from hybrid.hosting.placements import Placements
from hybrid.load import IDLE
from hybrid.model import NodeId, SiteId, SiteRegister
from hybrid.placing_deeds import Left, Verdict, Why
from hybrid.settings import Bursting as Wanted
from hybrid.view import SiteView, View

AGAIN_S = 600.0
"""A site whose move failed is left alone for so long."""
TOLD = 20
"""So many of those that left for a site are told."""


class Bursting:
    """Looks whether this node is hot."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        wanted: Wanted,
        view: Callable[[], View],
        loads: Loads,
        holdings: Holdings,
        placements: Placements,
        registers: Callable[[SiteId], Mapping[NodeId, SiteRegister]],
        groups: Callable[[], Collection[Group]],
        busy: Callable[[SiteId], str | None],
        allowed: Callable[[], bool],
        move: Callable[[SiteId, NodeId, str], Awaitable[None]],
        told: Callable[[str, SiteId, str], None],
        wall_s: Callable[[], float],
    ) -> None:
        """
        Args:
            registers: What each node says about a site.
            busy: What is being done to a site.
            allowed: Whether the cluster wants it.
            move: Hands a site over, for the reason given.
            told: `told(kind, site, text)` records an event for people.
        """
        self._clock, self._wanted, self._view, self._loads = clock, wanted, view, loads
        self._holdings, self._placements, self._registers, self._groups = holdings, placements, registers, groups
        self._busy, self._allowed, self._move, self._told, self._wall_s = busy, allowed, move, told, wall_s
        self._limits = Limits(
            hot=wanted.hot,
            cool=wanted.cool,
            pause_s=wanted.pause_s,
            cooldown_s=wanted.cooldown_s,
            per_hour=wanted.per_hour,
        )
        self._left_s: deque[float] = deque(maxlen=max(1, wanted.per_hour))
        self._sent: deque[tuple[float, NodeId, float]] = deque(maxlen=100)
        self._failed_s: dict[SiteId, float] = {}
        self._bill: dict[SiteId, deque[Left]] = defaultdict(lambda: deque(maxlen=TOLD))

    async def look(self) -> None:
        """Move one site away, if one should go. Never raises."""
        here = self._here()
        if here is None or not self._is_on() or max(getattr(here.load, name) for name in DIMENSIONS) < self._limits.hot:
            return
        view, now_s = self._view(), self._clock.seconds()
        self._failed_s = {site: at_s for site, at_s in self._failed_s.items() if now_s - at_s < AGAIN_S}
        residents = self._residents(view)
        chosen = bursting.choose(here, residents, self._hosts(view, here), self._limits, now_s)
        hot = bursting.heat(here, residents, self._limits)
        if isinstance(chosen, Move) and hot is not None:
            await self._do(view, here, chosen, hot.busiest)

    def why(self, site: SiteId) -> Why:
        """See `hybrid.placing_deeds.PlacingDeeds`."""
        holding = self._holdings.need(site)
        if holding.role != "owner":
            raise Conflict(f"site {holding.spec.name} is {holding.role} on this node", "", "try again in some seconds")
        view, here, now_s = self._view(), self._here(), self._clock.seconds()
        residents = self._residents(view)
        one = next((one for one in residents if one.site == site), None)
        others: tuple[Verdict, ...] = ()
        hot = ""
        if here is not None and one is not None:
            hosts = self._hosts(view, here)
            verdicts = ((host, bursting.unfit(one, host, here, self._limits)) for host in hosts)
            others = tuple(Verdict(node=host.node, against=against) for host, against in verdicts)
            hot = bursting.choose(here, residents, hosts, self._limits, now_s).why if self._is_on() else ""
        return Why(
            placed=holding.placed,
            load=self._loads.site(site),
            here=here.load if here else None,
            hot=hot,
            stays=bursting.why_not(one, self._limits) if one else "it is not seen as owned here yet",
            others=others,
            made_room=tuple(self._bill.get(site, ())),
        )

    async def _do(self, view: View, here: Here, chosen: Move, busy: SiteId) -> None:
        now_s, name = self._clock.seconds(), view.sites[chosen.site].spec.name
        load = self._loads.site(chosen.site) or IDLE
        target = view.nodes[chosen.to].measured
        self._left_s.append(now_s)
        self._sent.append((now_s, chosen.to, load.cpu / target.cores if target else 0.0))
        self._told("burst", chosen.site, f"{name} moves to {view.nodes[chosen.to].name}: {chosen.why}")
        try:
            await self._move(chosen.site, chosen.to, chosen.why)
        except HybridError as error:
            self._failed_s[chosen.site] = self._clock.seconds()
            self._told("burst-failed", chosen.site, str(error))
        except Exception:
            self._failed_s[chosen.site] = self._clock.seconds()
            self.log.failure("moving {site} away from a hot node failed", site=chosen.site)
        else:
            left = Left(at_s=int(self._wall_s()), name=name, to=chosen.to, why=chosen.why)
            self._bill[busy].append(left)

    # ----------------------------------------------------------------------------------------- what is decided on

    def _is_on(self) -> bool:
        return self._wanted.enabled and self._allowed()

    def _here(self) -> Here | None:
        load, view = self._loads.node(lasting=True), self._view()
        me = view.nodes.get(view.me)
        if load is None or me is None or me.draining:
            return None
        io_bytes_s = sum(one.io_bytes_s for site in self._loads.sites() if (one := self._loads.site(site)))
        left_s = [at_s for at_s in self._left_s if self._clock.seconds() - at_s < HOUR_S]
        return Here(name=me.name, dc=me.dc, load=load, io_bytes_s=io_bytes_s, left_s=left_s)

    def _residents(self, view: View) -> list[Resident]:
        """The sites this node owns, by id."""
        leaders = {site: group for group in self._groups() for site in group.sites}
        owned = (self._holdings.get(site) for site in self._holdings)
        ids = sorted(one.spec.id for one in owned if one is not None and one.role == "owner")
        return [self._resident(view.sites[site], view, leaders.get(site)) for site in ids if site in view.sites]

    def _resident(self, seen: SiteView, view: View, group: Group | None) -> Resident:
        site = seen.spec.id
        return Resident(
            site=site,
            name=seen.spec.name,
            load=self._loads.site(site) or IDLE,
            peak=self._loads.peak(site),
            here_s=self._placements.here_s(site),
            fresh=fresh(view.me, seen, self._registers(site)),
            stays=self._stays(seen, view, group),
            home_dc=seen.spec.home_dc,
            apart=seen.spec.apart,
            group=group.name if group else "",
        )

    def _stays(self, seen: SiteView, view: View, group: Group | None) -> str:
        """Why it cannot be moved just now."""
        site = seen.spec.id
        if seen.spec.pinned:
            return "it is pinned"
        if seen.owner != view.me or seen.state != "serving" or seen.awaiting or seen.trouble:
            return "it is not being served as it should be"
        if (what := self._busy(site)) is not None:
            return f"something is being done with it: {what}"
        if group is not None and group.sites[0] != site:
            return f"it is where the first site of group {group.name} is"
        if site in self._failed_s:
            return "it could not be moved a while ago"
        return ""

    def _hosts(self, view: View, here: Here) -> list[Host]:
        """All other nodes, by name."""
        now_s = self._clock.seconds()
        sent: dict[NodeId, float] = defaultdict(float)
        for at_s, node, part in self._sent:
            if now_s - at_s < self._wanted.window_s:
                sent[node] += part
        apart = kept_apart(view)
        others = sorted((node for node in view.nodes.values() if node.id != view.me), key=lambda node: node.name)
        return [
            Host(
                node=node.id,
                name=node.name,
                dc=node.dc,
                load=node.measured,
                refuses=refuses(node),
                apart=apart[node.id],
                coming=sent[node.id],
            )
            for node in others
        ]


def fresh(me: NodeId, seen: SiteView, registers: Mapping[NodeId, SiteRegister]) -> tuple[NodeId, ...]:
    """Other live nodes whose newest snapshot is one of the last few of `me`, who owns it; best first."""
    recent = registers[me].recent if me in registers else ()
    heads = {node: registers[node].head for node in seen.holders if node in registers and node != me}
    return tuple(node for node, head in heads.items() if head is not None and head in recent)
