"""
Has certificates issued and renewed, each once in the cluster, and answers the authority's challenges. Shell.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hybrid.certs import bundle, wishes
from hybrid.certs.acme import Acme, AcmeError, Challenge, Http
from hybrid.certs.names import is_name
from hybrid.certs.ports import Shared, TxtRecords
from hybrid.certs.service import Certificates
from hybrid.certs.wishes import Authority, Trouble
from hybrid.errors import BadRequest, HybridError, NoSuchCertificate
from hybrid.model import NodeId, SiteId
from hybrid.view import View

AT_A_TIME = 4
SPREAD_S = 6.0
"""From an answer's writing to its being shown by every node: gossip, a look, the feed."""


class Issuing:
    """
    See the module.

    Args:
        clock: For waits.
        me: This node.
        certificates: Where issued ones go, and accounts' keys are sealed.
        shared: The cluster's shared map.
        txt: Writes records into zones of ours.
        view: The newest view.
        http: How an authority is asked that is trusted by a root (PEM; empty: a usual one).
        wall_s: Seconds since the epoch.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        me: NodeId,
        certificates: Certificates,
        shared: Shared,
        txt: TxtRecords,
        view: Callable[[], View],
        http: Callable[[str], Http],
        wall_s: Callable[[], float],
    ) -> None:
        self._clock, self._me, self._certificates, self._shared = clock, me, certificates, shared
        self._txt, self._view, self._http, self._wall_s = txt, view, http, wall_s

    # ------------------------------------------------------------------------------------------- what people say

    def authority(self) -> Authority | None:
        """Who issues; `None` before somebody agreed to its terms."""
        return wishes.authority(self._shared.get(wishes.AUTHORITY))

    def agree(self, directory: str, contact: str, ca: str) -> Authority:
        """Have `directory` issue from now on, whose terms somebody agreed to. Raises `BadRequest`."""
        if not directory.startswith("https://"):
            raise BadRequest(f"{directory[:100]!r} is no directory", "it is asked by HTTPS", wishes.LETS_ENCRYPT)
        if ca:
            bundle.certificates(ca)
        old = self.authority()
        known = old if old is not None and old.directory == directory else Authority()
        new = msgspec.structs.replace(known, directory=directory, contact=contact, ca=ca)
        self._shared.put(wishes.AUTHORITY, msgspec.json.encode(new).decode())
        for place in self._shared.prefix(wishes.TROUBLE):
            self._shared.put(place, None)
        return new

    def wish(self, name: str) -> None:
        """Have a certificate for `name` from now on, and try at once. Raises `BadRequest`."""
        if not is_name(name):
            raise BadRequest(f"{name[:100]!r} is no host name", "", "for example www.example.org, or *.example.org")
        if not wishes.wished(self._view(), [name]):
            raise BadRequest(f"no site here is called {name}", "", "give a site that domain first")
        if self.authority() is None:
            why = "no authority's terms were agreed to"
            raise BadRequest("nobody issues certificates here", why, "hybrid cert account --agree")
        self._shared.put(wishes.WISH + name, "{}")
        self._shared.put(wishes.TROUBLE + name, None)

    def forget(self, name: str) -> None:
        """Ask for no new certificate for `name`, and show none. Raises `NoSuchCertificate` when there is neither."""
        wished = self._shared.get(wishes.WISH + name) is not None
        self._shared.put(wishes.WISH + name, None)
        self._shared.put(wishes.TROUBLE + name, None)
        try:
            self._certificates.remove(name)
        except NoSuchCertificate:
            if not wished:
                raise

    def wanted(self) -> dict[str, Trouble | None]:
        """Names that want a certificate, and what keeps them from a new one, by name."""
        return {name: self._trouble(name) for name in sorted(self._wished())}

    # ------------------------------------------------------------------------------------------------- the deeds

    async def look(self) -> None:
        """Ask for what is due and is this node's to ask for, a few at a time. Never raises."""
        self._drop_stale()
        authority, view, now_s = self.authority(), self._view(), self._wall_s()
        if authority is None:
            return
        known = self._certificates.all()
        due = [
            (name, site)
            for name, site in sorted(self._wished().items())
            if wishes.issuer(view, site) == self._me and wishes.is_due(name, site, known, self._trouble(name), now_s)
        ]
        if due:
            await self._issue_all(authority, due[:AT_A_TIME])

    async def _issue_all(self, authority: Authority, due: list[tuple[str, SiteId | None]]) -> None:
        try:
            account = await self._account(authority)
        except Exception as error:
            for name, _ in due:
                self._failed(name, error)
            return
        await gatherResults([Deferred.fromCoroutine(self._issue(account, name, site)) for name, site in due])

    async def _account(self, authority: Authority) -> Acme:
        """Our account, made where there is none that can be used."""
        sealed, pem = authority.key, None
        if sealed is not None and authority.account:
            pem = self._certificates.open(sealed, wishes.AUTHORITY)
        http = self._http(authority.ca)
        if pem is not None:
            key = load_pem_private_key(pem, None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            return Acme(http, self._clock, authority.directory, key, authority.account)
        key = ec.generate_private_key(ec.SECP256R1())
        account = Acme(http, self._clock, authority.directory, key)
        url = await account.register(authority.contact)
        sealed = self._certificates.seal(_pem(key).encode(), wishes.AUTHORITY)
        made = msgspec.structs.replace(authority, account=url, key=sealed)
        self._shared.put(wishes.AUTHORITY, msgspec.json.encode(made).decode())
        self.log.info("there is an account at {directory} now", directory=authority.directory)
        return account

    async def _issue(self, account: Acme, name: str, site: SiteId | None) -> None:
        try:
            key = ec.generate_private_key(ec.SECP256R1())
            chain = await account.issue([name], key, self)
            self._certificates.keep(bundle.read(chain, _pem(key), self._wall_s()), "issued", site, "")
        except Exception as error:
            self._failed(name, error)
            return
        self._shared.put(wishes.TROUBLE + name, None)
        self.log.info("a certificate for {name} was issued", name=name)

    def _failed(self, name: str, error: Exception) -> None:
        if isinstance(error, HybridError):
            said = error.what, error.why, error.try_
        else:
            self.log.failure("asking for a certificate for {name} failed", name=name)
            said = f"no certificate for {name}", "something went wrong inside Hybrid", "the node's log has the details"
        wait_s = error.retry_after_s if isinstance(error, AcmeError) else 0.0
        if isinstance(error, AcmeError) and error.kind == "accountDoesNotExist":
            self._forget_account()
        trouble = wishes.failed(name, self._trouble(name), said, wait_s, self._wall_s())
        self.log.warn("no certificate for {name}: {why}", name=name, why=f"{trouble.what}: {trouble.why}")
        self._shared.put(wishes.TROUBLE + name, msgspec.json.encode(trouble).decode())

    def _forget_account(self) -> None:
        """The authority does not know it any more."""
        known = self.authority()
        if known is not None:
            without = msgspec.structs.replace(known, account="", key=None)
            self._shared.put(wishes.AUTHORITY, msgspec.json.encode(without).decode())

    # ------------------------------------------------------------------------------------------------- challenges

    async def show(self, challenge: Challenge) -> None:
        """See `hybrid.certs.acme.Answers`."""
        if challenge.kind == "dns-01":
            if not self._txt.add(f"_acme-challenge.{challenge.name}", challenge.digest):
                why = "no zone here has the name, so nobody can prove that it is ours"
                raise AcmeError(
                    f"no certificate for *.{challenge.name}", why, f"hybrid dns zone create {challenge.name}"
                )
        else:
            answer = wishes.Answer(text=challenge.authorization, at_s=int(self._wall_s()))
            self._shared.put(wishes.ANSWER + challenge.token, msgspec.json.encode(answer).decode())
            self._certificates.look()
        await deferLater(self._clock, SPREAD_S, lambda: None)

    def hide(self, challenge: Challenge) -> None:
        """See `hybrid.certs.acme.Answers`."""
        try:
            if challenge.kind == "dns-01":
                self._txt.remove(f"_acme-challenge.{challenge.name}", challenge.digest)
            else:
                self._shared.put(wishes.ANSWER + challenge.token, None)
        except Exception:
            self.log.failure("the answer for {name} could not be taken back", name=challenge.name)

    def _drop_stale(self) -> None:
        before_s = self._wall_s() - wishes.STALE_S
        for place, value in self._shared.prefix(wishes.ANSWER).items():
            answer = wishes.answer(value)
            if answer is None or answer.at_s < before_s:
                self._shared.put(place, None)

    def _wished(self) -> dict[str, SiteId | None]:
        names = [place.removeprefix(wishes.WISH) for place in self._shared.prefix(wishes.WISH)]
        return wishes.wished(self._view(), names)

    def _trouble(self, name: str) -> Trouble | None:
        return wishes.trouble(self._shared.get(wishes.TROUBLE + name))


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
