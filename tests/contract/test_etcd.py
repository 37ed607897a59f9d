"""The contract of `hybrid.strict.ports.Etcd`: what strict sites rely on, in memory and of the real one."""

from __future__ import annotations

import datetime
import ipaddress
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet import reactor as _reactor
from twisted.internet.task import deferLater

from hybrid.settings import Strict
from hybrid.strict.gateway import EtcdGateway
from hybrid.strict.memory import MemoryEtcd
from hybrid.strict.ports import Entry, Etcd, EtcdRefused, EtcdUnreachable, NoSuchLease
from tests.strict.members import Member, free_port

reactor: Any = _reactor


class Store:
    """A store under test: two clients of it, and its plug."""

    def __init__(self, one: Etcd, other: Etcd, stop: Callable[[], None], go_on: Callable[[], None]) -> None:
        self.one, self.other, self.stop, self.go_on = one, other, stop, go_on


@asynccontextmanager
async def in_memory(where: Path) -> AsyncIterator[Store]:
    """The fake."""
    etcd = MemoryEtcd(reactor, gives_up_after_s=0.2)

    def down(down: bool) -> None:
        etcd.down = down

    yield Store(etcd.client("one"), etcd.client("other"), lambda: down(True), lambda: down(False))


@asynccontextmanager
async def real(where: Path) -> AsyncIterator[Store]:
    """One member on loopback; one of the endpoints given leads to nobody."""
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed: make packages")
    member = Member("m", where, client_port=free_port(), peer_port=free_port())
    member.start([member])
    try:
        member.wait_until_healthy()
        settings = Strict(endpoints=(f"http://127.0.0.1:{free_port()}", member.endpoint))
        one, other = EtcdGateway(reactor, settings), EtcdGateway(reactor, settings)
        yield Store(one, other, member.pause, member.resume)
        await one.close()
        await other.close()
    finally:
        member.kill()


@pytest_twisted.async_yield_fixture(
    params=[in_memory, pytest.param(real, marks=pytest.mark.cluster)], ids=["memory", "etcd"]
)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Each driver in turn, empty."""
    async with request.param(tmp_path) as made:
        yield made


async def eventually(true: Callable[[], Any], within_s: float = 30.0) -> None:
    """Wait until the awaitable of `true()` gives something true."""
    end_s = reactor.seconds() + within_s
    while not await true():
        assert reactor.seconds() < end_s, f"not within {within_s:.0f} s"
        await deferLater(reactor, 0.1)


@pytest_twisted.ensureDeferred
async def test_a_key_is_taken_once(store: Store) -> None:
    """Of two that want the same site one gets it, and both read who, with the revision that is the winner's epoch."""
    lease = await store.one.grant(60)
    revision = await store.one.put_if({"/own/a": 0}, "/own/a", "one", lease)
    assert revision is not None
    assert await store.other.put_if({"/own/a": 0}, "/own/a", "other") is None
    for client in (store.one, store.other):
        reading = await client.read(["/own/a", "/own/b"])
        assert reading.entries == {"/own/a": Entry("one", revision, lease)}
        assert reading.revision == revision


@pytest_twisted.ensureDeferred
async def test_revisions_only_grow(store: Store) -> None:
    """A later claim on anything has a larger epoch, also after a key was removed and is taken anew."""
    revisions = [await store.one.put_if({"/own/a": 0}, "/own/a", "one")]
    revisions.append(await store.other.put_if({"/own/b": 0}, "/own/b", "other"))
    assert await store.one.remove_if({"/own/a": revisions[0] or 0}, "/own/a")
    revisions.append(await store.other.put_if({"/own/a": 0}, "/own/a", "other"))
    assert None not in revisions
    assert revisions == sorted(set(revisions), key=lambda revision: revision or 0)


@pytest_twisted.ensureDeferred
async def test_a_claim_is_passed_on_only_from_the_one_that_was_meant(store: Store) -> None:
    """A change names the revision it replaces: what was changed meanwhile is not overwritten, nor removed."""
    first = await store.one.put_if({"/own/a": 0}, "/own/a", "one")
    assert first is not None
    second = await store.other.put_if({"/own/a": first}, "/own/a", "other")
    assert second is not None
    assert second > first
    assert await store.one.put_if({"/own/a": first}, "/own/a", "one") is None
    assert not await store.one.remove_if({"/own/a": first}, "/own/a")
    assert (await store.one.read(["/own/a"])).entries["/own/a"].value == "other"


@pytest_twisted.ensureDeferred
async def test_conditions_on_several_keys_hold_together(store: Store) -> None:
    """The list of holders is only written by who still has the claim."""
    own = await store.one.put_if({"/own/a": 0}, "/own/a", "one") or 0
    assert await store.one.put_if({"/own/a": own}, "/holders/a", "one two") is not None
    assert await store.other.put_if({"/own/a": own + 1}, "/holders/a", "other") is None
    assert await store.other.put_if({"/own/a": own, "/holders/a": 0}, "/holders/a", "other") is None
    assert (await store.one.read(["/holders/a"])).entries["/holders/a"].value == "one two"


@pytest_twisted.ensureDeferred
async def test_a_lease_that_is_not_kept_alive_takes_its_keys_with_it(store: Store) -> None:
    """A dead node's sites become free by themselves; one that renews keeps them; one too late is told."""
    dying, living = await store.one.grant(2), await store.other.grant(5)
    over_s = reactor.seconds() + 6.0
    await store.one.put_if({"/own/a": 0}, "/own/a", "one", dying)
    await store.other.put_if({"/own/b": 0}, "/own/b", "other", living)

    async def gone() -> bool:
        assert await store.other.keep_alive(living)
        return "/own/a" not in (await store.other.read(["/own/a"])).entries and reactor.seconds() > over_s

    await eventually(gone)
    assert not await store.one.keep_alive(dying)
    with pytest.raises(NoSuchLease):
        await store.one.put_if({"/own/a": 0}, "/own/a", "one", dying)
    assert list((await store.one.read(["/own/a", "/own/b"])).entries) == ["/own/b"]


@pytest_twisted.ensureDeferred
async def test_a_lease_can_be_given_back(store: Store) -> None:
    """A node that is shut down does not make others wait; to say so twice is no mistake."""
    lease = await store.one.grant(60)
    await store.one.put_if({"/own/a": 0}, "/own/a", "one", lease)
    await store.one.revoke(lease)
    await store.one.revoke(lease)
    assert (await store.other.read(["/own/a"])).entries == {}


@pytest_twisted.ensureDeferred
async def test_who_is_not_answered_is_told_so_in_time(store: Store) -> None:
    """Nothing hangs on a store that hangs, no answer is made up, and afterwards it goes on."""
    lease = await store.one.grant(60)
    revision = await store.one.put_if({"/own/a": 0}, "/own/a", "one", lease)
    store.stop()
    with pytest.raises(EtcdUnreachable):
        await store.one.read(["/own/a"])
    with pytest.raises(EtcdUnreachable):
        await store.one.keep_alive(lease)
    store.go_on()
    assert (await store.one.read(["/own/a"])).entries == {"/own/a": Entry("one", revision or 0, lease)}
    assert await store.one.keep_alive(lease)


def certificate(folder: Path, name: str, signer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None) -> Any:
    """Write `<name>.crt` and `<name>.key` for 127.0.0.1, signed by `signer` or by itself; returns both."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    called = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(signer[0].subject if signer else called)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(signer[1] if signer else key, hashes.SHA256())
    )
    (folder / f"{name}.crt").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / f"{name}.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made, key


@pytest.mark.cluster
@pytest_twisted.ensureDeferred
async def test_certificates_on_both_sides(tmp_path: Path) -> None:
    """With its own certificate and the right authority a node is let in; without either there is no conversation."""
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed: make packages")
    authority = certificate(tmp_path, "ca", None)
    certificate(tmp_path, "other", None)
    for name in ("server", "client"):
        certificate(tmp_path, name, authority)
    files = {name: str(tmp_path / name) for name in ("ca.crt", "other.crt", "server.crt", "server.key")}
    tls = ["--client-cert-auth", "--trusted-ca-file", files["ca.crt"]]
    tls += ["--cert-file", files["server.crt"], "--key-file", files["server.key"]]
    member = Member("m", tmp_path / "m", client_port=free_port(), peer_port=free_port(), tls=tls)
    member.start([member])
    endpoints = (member.endpoint,)

    def shown(ca: str) -> Strict:
        """With our certificate."""
        cert, key = str(tmp_path / "client.crt"), str(tmp_path / "client.key")
        return Strict(endpoints=endpoints, ca=files[ca], cert=cert, key=key)

    try:
        right = EtcdGateway(reactor, shown("ca.crt"))

        async def answers() -> bool:
            try:
                return (await right.read(["/own/a"])).entries == {}
            except EtcdUnreachable:
                return False

        await eventually(answers)
        for wrong in (
            Strict(endpoints=endpoints, ca=files["ca.crt"]),
            shown("other.crt"),
            Strict(endpoints=(member.endpoint.replace("https", "http"),)),
        ):
            with pytest.raises(EtcdUnreachable):
                await EtcdGateway(reactor, wrong).read(["/own/a"])
        await right.close()
    finally:
        member.kill()


@pytest.mark.cluster
@pytest_twisted.ensureDeferred
async def test_what_is_not_etcd_is_not_believed(tmp_path: Path) -> None:
    """Endpoints that lead to something else are called unreachable, with a hint where to look."""
    member = Member("m", tmp_path, client_port=free_port(), peer_port=free_port())
    member.start([member])
    try:
        member.wait_until_healthy()
        lost = EtcdGateway(reactor, Strict(endpoints=(member.peer,)))
        with pytest.raises(EtcdUnreachable, match="majority of its members"):
            await lost.read(["/own/a"])
        await lost.close()
        found = EtcdGateway(reactor, Strict(endpoints=(member.endpoint,)))
        with pytest.raises(EtcdRefused):
            await found.put_if({}, "", "an empty key")
        await found.close()
    finally:
        member.kill()
