"""A certificate authority that speaks ACME, in memory: strict about what RFC 8555 asks of clients."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from hybrid.certs import jose
from hybrid.certs.acme import AcmeError, Challenge, Reply
from tests.certs.authority import Authority, text

BASE = "https://ca.test"
_ERROR = "urn:ietf:params:acme:error:"


class FakeCa:
    """
    See `hybrid.certs.acme.Http`.

    Args:
        fetch: What the world shows for a kind of challenge and a name: texts.
    """

    def __init__(self, fetch: Callable[[str, str], list[str]]) -> None:
        self._fetch = fetch
        self.authority = Authority("fake")
        self.fails: Reply | None = None
        self.down = False
        self.refuse_nonces = 0
        self.polls = 1
        self.asked: list[str] = []
        self.accounts: dict[str, ec.EllipticCurvePublicKey] = {}
        self._nonces: set[str] = set()
        self._count = 0
        self._orders: dict[str, dict[str, Any]] = {}
        self._authorizations: dict[str, dict[str, Any]] = {}
        self._chains: dict[str, str] = {}

    async def ask(self, method: str, url: str, body: bytes = b"") -> Reply:
        """See `Http`."""
        path = url.removeprefix(BASE)
        self.asked.append(path)
        if self.down:
            raise AcmeError(f"{url} cannot be reached", "no route")
        if method in ("GET", "HEAD"):
            names = ("newNonce", "newAccount", "newOrder")
            return self._reply(200, {name: f"{BASE}/{name}" for name in names} if path == "/directory" else {})
        who, payload = self._read(url, body)
        if isinstance(payload, Reply):
            return payload
        if self.fails is not None:
            return self.fails
        answer: Reply = getattr(self, "_" + path.split("/")[1])(path, who, payload)
        return answer

    def problem(self, status: int, kind: str, detail: str, **headers: str) -> Reply:
        """An error."""
        return self._reply(status, {"type": _ERROR + kind, "detail": detail}, headers)

    def _reply(self, status: int, value: object, headers: dict[str, str] | None = None) -> Reply:
        self._count += 1
        nonce = f"nonce{self._count}"
        self._nonces.add(nonce)
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        return Reply(status, {"replay-nonce": nonce, **(headers or {})}, body)

    def _read(self, url: str, body: bytes) -> tuple[str, Any]:
        """Check the signature, the nonce and the URL."""
        protected = json.loads(jose.unb64(json.loads(body)["protected"]))
        if "jwk" in protected:
            jwk = protected["jwk"]
            x, y = (int.from_bytes(jose.unb64(jwk[name])) for name in "xy")
            key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
            who = f"{BASE}/account/{jose.thumbprint(key)}"
            self._pending = key
        else:
            who = protected["kid"]
            key = self.accounts[who]
        _, payload = jose.verify(key, body)
        assert protected["url"] == url and protected["alg"] == "ES256"
        if self.refuse_nonces or protected["nonce"] not in self._nonces:
            self.refuse_nonces -= 1
            return who, self.problem(400, "badNonce", "try again")
        self._nonces.discard(protected["nonce"])
        return who, payload

    def _newAccount(self, path: str, who: str, wish: Any) -> Reply:  # noqa: N802
        if not wish["termsOfServiceAgreed"]:
            return self.problem(403, "userActionRequired", "agree")
        self.accounts[who] = self._pending
        return self._reply(201, {}, {"location": who})

    def _newOrder(self, path: str, who: str, wish: Any) -> Reply:  # noqa: N802
        number = str(len(self._orders))
        names = [one["value"] for one in wish["identifiers"]]
        for name in names:
            self._authorizations[f"{number}.{name}"] = {
                "identifier": {"type": "dns", "value": name.removeprefix("*.")},
                "status": "pending",
                "wildcard": name.startswith("*."),
                "challenges": [
                    {"type": kind, "url": f"{BASE}/challenge/{number}.{name}", "token": f"tok_{number}-{kind[:4]}"}
                    for kind in ("dns-01", "http-01", "tls-alpn-01")
                    if kind != "http-01" or not name.startswith("*.")
                ],
                "polls": self.polls,
            }
        self._orders[number] = {
            "status": "pending",
            "names": names,
            "authorizations": [f"{BASE}/authorization/{number}.{name}" for name in names],
            "finalize": f"{BASE}/finalize/{number}",
        }
        return self._reply(201, self._orders[number], {"location": f"{BASE}/order/{number}"})

    def _authorization(self, path: str, who: str, wish: Any) -> Reply:
        found = self._authorizations[path.split("/")[2]]
        if found.get("asked"):
            found["polls"] -= 1
            if found["polls"] <= 0 and found["status"] == "pending":
                self._judge(found, who)
        return self._reply(200, found)

    def _challenge(self, path: str, who: str, wish: Any) -> Reply:
        assert wish == {}
        self._authorizations[path.split("/")[2]]["asked"] = True
        return self._reply(200, {})

    def _judge(self, found: dict[str, Any], who: str) -> None:
        kind = "dns-01" if found["wildcard"] else "http-01"
        challenge = next(one for one in found["challenges"] if one["type"] == kind)
        name, token = found["identifier"]["value"], challenge["token"]
        secret = f"{token}.{jose.thumbprint(self.accounts[who])}"
        wanted = secret if kind == "http-01" else Challenge(kind, name, token, secret).digest
        good = wanted in self._fetch(kind, name if kind == "dns-01" else token)
        found["status"] = "valid" if good else "invalid"
        if not good:
            challenge["error"] = {"type": _ERROR + "unauthorized", "detail": f"{name} shows something else"}

    def _finalize(self, path: str, who: str, wish: Any) -> Reply:
        number = path.split("/")[2]
        order = self._orders[number]
        states = [self._authorizations[f"{number}.{name}"]["status"] for name in order["names"]]
        if states != ["valid"] * len(states):
            return self.problem(403, "orderNotReady", "not yet")
        request = x509.load_der_x509_csr(jose.unb64(wish["csr"]))
        named = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert request.is_signature_valid and named.get_values_for_type(x509.DNSName) == order["names"]
        public = request.public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        leaf = self.authority.issue(public, *order["names"])
        self._chains[number] = text(leaf) + self.authority.pem
        order.update(status="processing", certificate=f"{BASE}/certificate/{number}")
        return self._reply(200, order)

    def _order(self, path: str, who: str, wish: Any) -> Reply:
        order = self._orders[path.split("/")[2]]
        answer = self._reply(200, order, {"retry-after": "2"})
        order["status"] = "valid"
        return answer

    def _certificate(self, path: str, who: str, wish: Any) -> Reply:
        return self._reply(200, self._chains[path.split("/")[2]])
