"""
The node process: the core on real drivers, the API and the feed. The composition root: only here all parts meet. Shell.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from hybrid.adapters import ImageImports, JoinTokens, TxtRecords
from hybrid.api.changes import Told
from hybrid.api.service import ApiService
from hybrid.api.wishes import Wishes
from hybrid.away.s3 import S3Objects
from hybrid.certs.hostkey import HostKey
from hybrid.certs.http import TreqHttp
from hybrid.certs.issuing import Issuing
from hybrid.certs.service import Certificates
from hybrid.certs.vault import ROOT, Vault
from hybrid.clockwatch import ClockWatch
from hybrid.cluster.admission import Admission
from hybrid.cluster.envelope import Envelopes
from hybrid.cluster.founding import root_file
from hybrid.cluster.identity import Identity
from hybrid.cluster.join import JoinDesk
from hybrid.cluster.peers import PeerLinks
from hybrid.cluster.sealing import KeySeals
from hybrid.cluster.store import Store
from hybrid.cluster.udp import UdpDatagrams
from hybrid.configuration import Configuration, current
from hybrid.core import Core
from hybrid.drivers import Drivers
from hybrid.feed import FeedServer
from hybrid.hosting.carrying import LOOK_EVERY_S as FLOATING_EVERY_S
from hybrid.hosting.carrying import Carrying
from hybrid.hosting.dial import Dial
from hybrid.hosting.interfaces import MachineInterfaces
from hybrid.hosting.previews import Fronts
from hybrid.loops import Loops
from hybrid.model import NodeId, SiteId
from hybrid.patience import PatientClock
from hybrid.ports import Pool
from hybrid.recovery import patient
from hybrid.safekeeping import Safekeeping
from hybrid.sessiondesk import SessionDesk
from hybrid.settings import Settings, guardian_socket, load, sessions_socket
from hybrid.storage.detect import detect
from hybrid.storage.probe import SyncProbe
from hybrid.storage.reserved import ReservedPool
from hybrid.strict.gateway import EtcdGateway
from hybrid.strict.guardian_link import GuardianLink
from hybrid.strict.leasefile import LeaseFile
from hybrid.strict.ports import StrictDrivers
from hybrid.supervise import parse
from hybrid.systemd import SYSTEMD
from hybrid.traffic import goes_squeezed
from hybrid.web.resource import Pages
from hybrid_containers.image import ImageStore, imprint, shift_owners
from hybrid_containers.loggers import append
from hybrid_containers.runtime import LxcContainers
from hybrid_dns.keeping import LOOK_EVERY_S, NameKeeping
from hybrid_replicator.children import ChildFiles

AnyReactor = Any
"""The process's reactor: it has every interface that the components ask for, each under its own name."""


RENEW_EVERY_S = 3600.0
"""How often a node looks whether its certificate must be made again."""

CERTIFICATES_EVERY_S = 2.0
"""How often a node looks for certificates that came to others."""
SAFEKEEPING_EVERY_S = 10.0
"""How often it looks whether its pool keeps the configuration as it is."""
ISSUE_EVERY_S = 10.0
AUDIT_EVERY_S = 600.0
"""How often it looks for what is to be issued."""


class Node(MultiService):
    """A node on this machine."""

    log = Logger()

    def __init__(self, reactor: AnyReactor, settings: Settings, identity: Identity, pool: Pool) -> None:
        super().__init__()
        self._reactor, self._settings, self._identity = reactor, settings, identity
        self._loops = Loops(reactor)
        store = Path(settings.state_dir) / "hybrid.db"
        written_s = (part.stat().st_mtime for part in store.parent.glob(store.name + "*"))
        self._patient_s = PatientClock(time.time, reactor.seconds, max(written_s, default=None))
        self._store = Store(store)
        self._containers = LxcContainers(reactor, settings)
        admission = Admission(
            identity,
            (settings.address, settings.cluster_port),
            self._store,
            lambda: self._core.known.nodes(),
            lambda: self._core.shared.entries(),
            time.time,
            os.urandom,
        )
        self._links = PeerLinks(
            reactor,
            identity,
            settings,
            self._addresses,
            random.random,
            newcomer=JoinDesk(reactor, admission),
            refuses=lambda line: self._core.presence.departures.removals.why_not(line),
            on_twin=lambda source: self._core.presence.vigilance.called_by_twin(source),
            on_refused=lambda why: self._core.presence.vigilance.kept_out(why),
            squeezes=lambda node: goes_squeezed(settings, self._core.outlook.view, node),
        )
        incarnation = self._store.next_incarnation(time.time())
        envelopes = Envelopes(identity.node, incarnation, os.urandom(4), lambda: self._core.presence.keys.ring())
        self._datagrams = UdpDatagrams(reactor, envelopes, self._addresses, settings.address, settings.cluster_port)
        self._core = Core(reactor, settings, identity.node, incarnation, identity.cluster.zones, self._drivers(pool))
        root_key = identity.root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._certificates = Certificates(
            Vault(identity.node, identity.key, os.urandom),
            self._core.shared,
            lambda: {ROOT: root_key, **{node: register.key for node, register in self._core.known.nodes().items()}},
            lambda: self._core.outlook.view,
            time.time,
            lambda secrets: self._feed.follow_secrets(secrets),
        )
        host_key = HostKey(
            self._core.shared, self._certificates, lambda: self._core.outlook.view, time.time, os.urandom
        )
        self._certificates.beside.append(host_key.told)
        self._desk = SessionDesk(reactor, sessions_socket(settings), self._core.logins.begin)
        self._names = NameKeeping(
            reactor, settings, self._core.shared, lambda: self._core.outlook.view, self._certificates, time.time
        )
        self._core.shared.follow(self._names.heard)
        self._issuing = Issuing(
            reactor,
            identity.node,
            self._certificates,
            self._core.shared,
            TxtRecords(self._names.registry),
            lambda: self._core.outlook.view,
            lambda ca: TreqHttp(reactor, ca),
            time.time,
        )
        self._about = Configuration(
            cluster=identity.cluster.id, name=identity.cluster.name, zones=identity.cluster.zones
        )
        self._safekeeping = Safekeeping(
            pool, lambda: current(self._about, self._core.outlook.view, self._core.shared.prefix(""))
        )
        self._api_tls = identity.api_options()
        self._api = self._new_api(pool, admission)
        self._feed = FeedServer(reactor, f"{settings.run_dir}/view.sock", self._core.report)
        self._core.observed.append(self._api.report)
        self._clock_watch = ClockWatch(
            reactor,
            self._links,
            lambda: self._core.outlook.view,
            random.sample,
            time.time,
            self._core.presence.vigilance.clock,
        )
        self._interfaces = MachineInterfaces(reactor)
        self._carrying = Carrying(
            reactor, settings.floating, lambda: self._core.outlook.view, self._interfaces, settings.timing.boot_s
        )
        wishes = Wishes(self._core.hosting, lambda: self._core.outlook.view, time.time)
        self._core.observed.append(wishes.observe)
        self._core.told.append(self._event)

    def _drivers(self, pool: Pool) -> Drivers:
        reactor = self._reactor
        return Drivers(
            pool=pool,
            containers=self._containers,
            links=self._links,
            datagrams=self._datagrams,
            entropy=os.urandom,
            files=ChildFiles(reactor, reactor),
            memory=self._store,
            seals=KeySeals(self._identity.key),
            accepts=Dial(reactor),
            shift_owners=lambda path, id_base: shift_owners(reactor, Path(path), id_base),
            imprint=lambda path, id_base, private: imprint(reactor, Path(path), id_base, private),
            append=lambda portions: append(reactor, portions),
            wall_s=time.time,
            patient_wall_s=self._patient_s,
            random=random.Random(),
            load=lambda: os.getloadavg()[0],
            objects=lambda store: S3Objects(reactor, store, time.time),
            probe=SyncProbe(reactor, pool, Path(self._settings.state_dir) / "probe"),
            gauge=self._containers.gauge(),
            strict=self._strict_drivers(),
        )

    def _strict_drivers(self) -> StrictDrivers | None:
        """etcd and the guardian, where the settings name them."""
        settings = self._settings
        if not settings.strict.endpoints:
            return None
        lease = LeaseFile(Path(settings.state_dir) / "etcd-lease")
        return StrictDrivers(
            cluster=self._identity.cluster.id,
            etcd=EtcdGateway(self._reactor, settings.strict),
            guard=GuardianLink(self._reactor, guardian_socket(settings), self._containers.freezers),
            kept_lease=lease.read,
            keep_lease=lease.write,
        )

    def _new_api(self, pool: Pool, admission: Admission) -> ApiService:
        reactor, settings, identity, core = self._reactor, self._settings, self._identity, self._core
        images = ImageStore(reactor, Path(settings.image_dir))
        api = ApiService(
            reactor,
            identity.node,
            identity.name,
            settings.api_port,
            self._api_tls,
            core.hosting,
            self._links,
            core.shared,
            self._store,
            JoinTokens(admission),
            ImageImports(images, core.shelf, pool, Path(settings.state_dir) / "temporary"),
            core.presence.departures.remove,
            core.presence.keys,
            core.away,
            core.care.groups,
            self._names.registry,
            self._certificates,
            self._issuing,
            core.placing,
            time.time,
            os.urandom,
            interface=settings.address,
            about=self._about,
        )
        api.root.pages = Pages(api.core, api.tokens, identity.name, os.urandom)
        return api

    def _addresses(self) -> dict[NodeId, tuple[str, int]]:
        return self._core.known.addresses()

    def _event(self, kind: str, site: SiteId, text: str) -> None:
        self._api.events.tell(Told(kind=kind, text=text, site=site, node=self._identity.node))
        self._api.audit.decided(kind, site, text)

    def startService(self) -> None:
        """Come to life, or end the process."""
        super().startService()
        Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            await self._core.live()
        except Exception:
            self.log.failure("this node could not come to life")
            self._reactor.stop()
            return
        self._certificates.look()
        for component in (self._links, self._datagrams, self._api, self._feed, self._names.desk, self._desk):
            component.setServiceParent(self)
        self._loops.every(RENEW_EVERY_S, self._renew)
        self._loops.every(LOOK_EVERY_S, self._names.look)
        self._clock_watch.start(self._loops)
        self._loops.every(FLOATING_EVERY_S, self._carrying.look)
        self._loops.every(CERTIFICATES_EVERY_S, self._certificates.look)
        self._loops.every(ISSUE_EVERY_S, self._issuing.look)
        self._loops.every(SAFEKEEPING_EVERY_S, self._safekeeping.look)
        self._loops.every(AUDIT_EVERY_S, self._api.audit.look)
        self._core.outlook.add(self._api.follow)
        self._core.outlook.add(Fronts(self._core.previews, self._feed.follow).follow)
        SYSTEMD.ready()

    async def _renew(self) -> None:
        """A new certificate in good time. New connections see it at once; the proxies read the file."""
        renewed = self._identity.renewed(self._settings.address, time.time())
        if renewed is not None:
            self._identity = renewed
            renewed.save_certificate(Path(self._settings.state_dir))
            self._links.renew(renewed)
            self._api_tls.become(renewed.api_options())
            self.log.info("this node has a new certificate")

    def stopService(self) -> Deferred[None]:
        """Fall silent; containers go on."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._loops.stop()
        await self._carrying.leave()
        self._interfaces.close()
        await self._names.stop()
        await self._core.die()
        await maybeDeferred(MultiService.stopService, self)
        await self._containers.close()
        self._store.close()


class NodeProcess(MultiService):
    """The node, once its storage is there."""

    log = Logger()

    def __init__(self, reactor: AnyReactor, settings: Settings) -> None:
        super().__init__()
        self._reactor, self._settings = reactor, patient(settings, time.time())

    def startService(self) -> None:
        """Make the node and start it; end the process where that is impossible."""
        super().startService()
        Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        state = Path(self._settings.state_dir)
        try:
            os.chmod(state, 0o711)  # the users of containers must get through to their own files
            identity = Identity.load(state)
            renewed = identity.renewed(self._settings.address, time.time())
            if renewed is not None:
                identity = renewed
                renewed.save_certificate(state)
            if root_file(state).exists():
                self.log.warn("{path} should be kept elsewhere: no node needs it", path=root_file(state))
            pool = ReservedPool(await detect(self._reactor, self._settings))
            Node(self._reactor, self._settings, identity, pool).setServiceParent(self)
        except Exception:
            self.log.failure("this node cannot start")
            self._reactor.stop()


def main(argv: Sequence[str]) -> int:
    """Run the node process until SIGTERM or SIGINT."""
    from hybrid.process import run_service

    settings = load(parse(argv).config)
    return run_service("node", lambda reactor: NodeProcess(reactor, settings), tells_ready=True)
