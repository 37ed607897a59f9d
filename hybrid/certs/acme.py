"""
A client of ACME (RFC 8555): one order from its names to its chain, on any HTTP port and any clock. Shell.

Waits are bounded: an order that is not through within `ORDER_S` is given up, and asked for anew later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from hybrid.certs import jose
from hybrid.errors import HybridError

ORDER_S = 300.0
POLLS_S = (1.0, 1.0, 2.0, 3.0, 5.0)
"""Between two looks at what the authority is doing; the last one repeats."""
_NONCE_TRIES = 10
_ERROR = "urn:ietf:params:acme:error:"


class AcmeError(HybridError):
    """The authority could not be asked, or said no."""

    def __init__(self, what: str, why: str = "", try_: str = "", retry_after_s: float = 0.0, kind: str = "") -> None:
        super().__init__(what, why, try_)
        self.retry_after_s = retry_after_s
        """It said so itself; 0.0: it did not."""
        self.kind = kind
        """RFC 8555 §6.7, without its prefix; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Http(Protocol):
    """Asks an authority."""

    async def ask(self, method: str, url: str, body: bytes = b"") -> Reply:
        """One request. Raises `AcmeError` when there is no answer within a bounded time."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What is to be shown to prove that a name is ours."""

    kind: str
    """`http-01` or `dns-01`."""
    name: str
    """Without `*.`."""
    token: str
    authorization: str
    """What `http-01` answers under the token."""

    @property
    def digest(self) -> str:
        """What the TXT record of `dns-01` says (§8.4)."""
        return jose.b64(hashlib.sha256(self.authorization.encode()).digest())


class Answers(Protocol):
    """Shows the world the answer to a challenge."""

    async def show(self, challenge: Challenge) -> None:
        """Return once every node shows it. Raises `AcmeError` where that cannot be."""

    def hide(self, challenge: Challenge) -> None:
        """It is not needed any more. Never raises."""


class Acme:
    """
    An account at an authority.

    Args:
        http: How it is asked.
        clock: For waits.
        directory: The URL everything begins with.
        key: Of the account.
        account: Its URL, empty before `register`.
    """

    def __init__(
        self, http: Http, clock: IReactorTime, directory: str, key: ec.EllipticCurvePrivateKey, account: str = ""
    ) -> None:
        self._http, self._clock, self._url, self._key = http, clock, directory, key
        self.account = account
        self._directory: dict[str, Any] = {}
        self._nonce = ""

    async def register(self, contact: str) -> str:
        """Make the account, or find it; returns its URL. The user has agreed to the terms. Raises `AcmeError`."""
        wish = {"termsOfServiceAgreed": True, "contact": [f"mailto:{contact}"] if contact else []}
        reply = await self._post(await self._at("newAccount"), wish)
        self.account = reply.headers.get("location", "")
        return self.account

    async def issue(self, names: Sequence[str], key: ec.EllipticCurvePrivateKey, answers: Answers) -> str:
        """
        A certificate for `names` by `key`.

        Returns:
            The chain as PEM, the leaf first.

        Raises:
            AcmeError: With what the authority says, and what to do about it.
        """
        until_s = self._clock.seconds() + ORDER_S
        wish = {"identifiers": [{"type": "dns", "value": name} for name in names]}
        reply = await self._post(await self._at("newOrder"), wish)
        order_url, order = reply.headers.get("location", ""), _json(reply)
        for url in order.get("authorizations", ()):
            await self._authorize(str(url), answers, until_s)
        request = jose.b64(_csr(names, key))
        await self._post(str(order.get("finalize", "")), {"csr": request})
        order = await self._settled(order_url, ("valid", "invalid"), until_s)
        if order.get("status") != "valid":
            raise _refused(order.get("error"), ", ".join(names))
        return (await self._post(str(order.get("certificate", "")), None)).body.decode("ascii", "replace")

    async def _authorize(self, url: str, answers: Answers, until_s: float) -> None:
        authorization = _json(await self._post(url, None))
        if authorization.get("status") == "valid":
            return
        name = str(authorization.get("identifier", {}).get("value", ""))
        wanted = "dns-01" if authorization.get("wildcard") else "http-01"
        found = next((one for one in authorization.get("challenges", ()) if one.get("type") == wanted), None)
        if found is None:
            raise AcmeError(f"{name} cannot be proven", f"the authority does not offer {wanted} for it")
        token = str(found.get("token", ""))
        if not token.replace("-", "").replace("_", "").isalnum():
            raise AcmeError(f"{name} cannot be proven", "the authority sent a token that is none")
        secret = f"{token}.{jose.thumbprint(self._key.public_key())}"
        challenge = Challenge(wanted, name, token, secret)
        try:
            await answers.show(challenge)
            await self._post(str(found.get("url", "")), {})
            authorization = await self._settled(url, ("valid", "invalid", "deactivated", "expired", "revoked"), until_s)
        finally:
            answers.hide(challenge)
        if authorization.get("status") != "valid":
            said = (one.get("error") for one in authorization.get("challenges", ()) if one.get("error"))
            raise _refused(next(said, None), name)

    async def _settled(self, url: str, ends: Sequence[str], until_s: float) -> dict[str, Any]:
        """What is at `url`, once its status is one of `ends`."""
        for turn in range(int(ORDER_S)):
            reply = await self._post(url, None)
            found = _json(reply)
            if found.get("status") in ends:
                return found
            if self._clock.seconds() >= until_s:
                break
            rest_s = max(_retry_after(reply), POLLS_S[min(turn, len(POLLS_S) - 1)])
            await deferLater(self._clock, min(rest_s, 30.0), lambda: None)
        raise AcmeError("the authority takes too long", f"it is not done after {ORDER_S:.0f} s", "it is tried again")

    # -------------------------------------------------------------------------------------------------- requests

    async def _at(self, name: str) -> str:
        if not self._directory:
            self._directory = _json(_checked(await self._http.ask("GET", self._url), self._url))
        if not isinstance(self._directory.get(name), str):
            raise AcmeError(f"{self._url} is no ACME directory", f"it has no {name}", "check the URL")
        return str(self._directory[name])

    async def _post(self, url: str, payload: object | None) -> Reply:
        """A signed request; the server may want another nonce several times."""
        for _ in range(_NONCE_TRIES):
            if not self._nonce:
                reply = await self._http.ask("HEAD", await self._at("newNonce"))
                self._nonce = reply.headers.get("replay-nonce", "")
            nonce, self._nonce = self._nonce, ""
            body = jose.signed(self._key, url, nonce, payload, self.account or None)
            reply = await self._http.ask("POST", url, body)
            self._nonce = reply.headers.get("replay-nonce", "")
            if reply.status != 400 or _problem(reply).get("type") != _ERROR + "badNonce":
                return _checked(reply, url)
        raise AcmeError("the authority takes no nonce", f"{_NONCE_TRIES} were refused", "it is tried again")


def _csr(names: Sequence[str], key: ec.EllipticCurvePrivateKey) -> bytes:
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.add_extension(alternatives, critical=False).sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def _json(reply: Reply) -> dict[str, Any]:
    try:
        found = json.loads(reply.body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise AcmeError("the authority does not speak ACME", "its answer is no JSON object", "check the URL")
    return found


def _problem(reply: Reply) -> dict[str, Any]:
    try:
        return _json(reply)
    except AcmeError:
        return {}


def _checked(reply: Reply, where: str) -> Reply:
    if reply.status < 400:
        return reply
    problem = _problem(reply)
    raise _refused({"detail": f"HTTP status {reply.status}", **problem}, where, _retry_after(reply))


def _retry_after(reply: Reply) -> float:
    text = reply.headers.get("retry-after", "")
    return min(float(text), 7 * 86400.0) if text.isdigit() else 0.0


_HINTS = {
    "dns": "see that the name leads here: hybrid dns zone list, or ask who runs its DNS",
    "connection": "see that port 80 of this cluster is reached from outside, and that the name leads here",
    "unauthorized": "see that the name leads to this cluster and nowhere else (AAAA records too)",
    "incorrectResponse": "see that the name leads to this cluster and nowhere else (AAAA records too)",
    "caa": "allow this authority in the CAA records of the domain",
    "rateLimited": "wait; it is tried again",
    "rejectedIdentifier": "this authority gives no certificate for that name: take another one, or upload one",
    "userActionRequired": "agree to the new terms: hybrid cert account --agree",
    "accountDoesNotExist": "another one is made at the next try",
    "externalAccountRequired": "this authority wants accounts made elsewhere: take another one, or upload one",
}


def _refused(problem: object, subject: str, retry_after_s: float = 0.0) -> AcmeError:
    """What an authority's problem document (RFC 7807) says, with what to do."""
    fields = problem if isinstance(problem, dict) else {}
    inner = next((one for one in fields.get("subproblems") or () if isinstance(one, dict)), {})
    kind = str(inner.get("type") or fields.get("type") or "").removeprefix(_ERROR)
    why = str(inner.get("detail") or fields.get("detail") or kind or "it does not say why")[:500]
    return AcmeError(f"no certificate for {subject[:200]}", why, _HINTS.get(kind, ""), retry_after_s, kind)
