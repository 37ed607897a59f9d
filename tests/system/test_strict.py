"""
Strict sites on three real nodes with an etcd of three members: never two writers at any instant.

One cluster for the whole file; every test leaves all nodes and members up, and the site served. Writers speak to the
container of every node all the time and note what was acknowledged when, by the one monotonic clock of this machine.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from hybrid.lab.cluster import PATIENCE_S, Lab
from hybrid.lab.node import Node
from tests.system.strictly import (
    MEMBERS,
    SITE,
    Acks,
    Members,
    all_but_guardian,
    owner,
    settings,
    settled,
    signal_part,
    writing,
)

pytestmark = [pytest.mark.cluster, pytest.mark.zfs, pytest.mark.lxc]
IMAGES = Path(os.environ.get("HYBRID_IMAGES", "/var/cache/hybrid/images"))
TTL_S = 15.0
PAUSE_S = 60.0


class Place:
    """The lab and its etcd."""

    def __init__(self, lab: Lab, members: Members, folder: Path) -> None:
        self.lab, self.members, self.folder = lab, members, folder

    @property
    def owner(self) -> Node:
        """Of the site."""
        return self.lab.nodes[owner(self.lab)]

    def others(self, node: Node) -> list[str]:
        """The names of the other nodes."""
        return [name for name in self.lab.nodes if name != node.name]

    def claim(self, through: str) -> str:
        """As a node sees it."""
        return str(self.lab.api(through).site(SITE)["claim"])

    def wait_for_acks(self, acks: Acks, nodes: Sequence[str], deadline_s: float = PATIENCE_S) -> str:
        """Wait until the container of one of `nodes` acknowledges; its name."""
        since_s, found = time.monotonic(), ""
        end_s = since_s + deadline_s
        while not found:
            assert time.monotonic() < end_s, f"nothing was acknowledged by {nodes} in {deadline_s:.0f} s"
            time.sleep(0.2)
            found = next((name for name in nodes if acks.of(name, since_s)), "")
        return found

    def settle(self) -> None:
        """Wait until everything is as it should be."""
        self.lab.wait(lambda: settled(self.lab), "one owner, which serves, and both copies", PATIENCE_S)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Three nodes, three members, and one strict site on n1."""
    if os.geteuid() != 0:
        pytest.skip("nodes need root")
    if not (IMAGES / "php.tar").exists():
        pytest.skip(f"no image in {IMAGES}: make images")
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed: make packages")
    with Lab(image_dir=IMAGES, hosts=MEMBERS, settings=settings) as lab:
        lab.up()
        members = Members(lab)
        try:
            members.start()
            lab.deploy(SITE, "php", "n1", consistency="strict")
            yield Place(lab, members, tmp_path_factory.mktemp("acks"))
        finally:
            members.kill()


@pytest.fixture
def place(whole: Place) -> Place:
    """Everything as it should be."""
    whole.settle()
    return whole


def stopped_for_a_minute(place: Place, pids: Sequence[int]) -> None:
    """Stop these processes of the owner; another node serves meanwhile, no two containers ever accept at once."""
    old = place.owner
    with writing(place.lab, place.folder) as acks:
        place.wait_for_acks(acks, [old.name])
        began_s = time.monotonic()
        signal_part(old, pids, signal.SIGSTOP)
        try:
            new = place.wait_for_acks(acks, place.others(old), PAUSE_S)
            taken_s = time.monotonic() - began_s
            time.sleep(max(0.0, PAUSE_S - taken_s))
        finally:
            signal_part(old, pids[::-1], signal.SIGCONT)
        place.settle()
        place.wait_for_acks(acks, [new])
        assert acks.overlap_s() == 0.0
    assert acks.of(old.name)[-1].acked_s < began_s + TTL_S * 3 / 4 + 1.0
    assert acks.of(new)[0].sent_s > began_s + TTL_S - TTL_S / 3
    assert {owner(place.lab, name) for name in place.lab.nodes} == {new}


def test_it_serves_under_a_revision_of_etcd(place: Place) -> None:
    """The API says that it is strict; its epoch is larger than any that it was given without etcd."""
    site = place.lab.api("n2").site(SITE)
    assert site["consistency"] == "strict"
    assert int(site["claim"].split(",")[0]) > 1


def test_a_node_process_that_is_killed_goes_on_with_what_it_finds(place: Place) -> None:
    """It is started again within its lease and adopts the container: the same claim, nobody else ever accepted."""
    old = place.owner
    claim = place.claim(old.name)
    with writing(place.lab, place.folder) as acks:
        place.wait_for_acks(acks, [old.name])
        old.kill_process("node")
        time.sleep(TTL_S)
        place.wait_for_acks(acks, [old.name])
        place.settle()
        assert {ack.node for ack in acks.all()} == {old.name}
    assert place.claim(old.name) == claim


def test_a_change_of_etcds_leader_is_no_reason_to_stop(place: Place) -> None:
    """The leader is cut off from all others: the same owner, and nobody else ever accepted."""
    old, leader = place.owner, place.members.leader()
    with writing(place.lab, place.folder) as acks:
        place.wait_for_acks(acks, [old.name])
        place.lab.network.cut([[leader], [*place.lab.nodes, *(name for name in MEMBERS if name != leader)]])
        time.sleep(TTL_S * 1.5)
        place.lab.network.heal()
        place.wait_for_acks(acks, [old.name])
        place.settle()
        assert {ack.node for ack in acks.all()} == {old.name}


def test_without_etcd_it_goes_on_while_all_holders_agree(place: Place) -> None:
    """All members are killed for two leases' time: nothing stops, and afterwards the same owner goes on."""
    old = place.owner
    with writing(place.lab, place.folder) as acks:
        place.wait_for_acks(acks, [old.name])
        place.members.kill()
        time.sleep(2 * TTL_S)
        place.wait_for_acks(acks, [old.name])
        place.members.start()
        time.sleep(TTL_S)
        place.wait_for_acks(acks, [old.name])
        place.settle()
        assert {ack.node for ack in acks.all()} == {old.name}


def test_an_owner_with_the_minority_of_etcd_stops_and_the_majority_serves(place: Place) -> None:
    """One member and the owner on one side: it stops by itself, says why, and only then another accepts."""
    old = place.owner
    with writing(place.lab, place.folder) as acks:
        place.wait_for_acks(acks, [old.name])
        place.lab.network.cut([[old.name, MEMBERS[0]], [*place.others(old), *MEMBERS[1:]]])
        try:
            new = place.wait_for_acks(acks, place.others(old))
            site = place.lab.api(old.name).site(SITE)
            assert (site["state"], "etcd" in site["trouble"]) == ("unavailable", True), site
        finally:
            place.lab.network.heal()
        place.settle()
        place.wait_for_acks(acks, [new])
        assert acks.overlap_s() == 0.0
    assert {owner(place.lab, name) for name in place.lab.nodes} == {new}


def test_the_owners_process_is_stopped_for_a_minute(place: Place) -> None:
    """SIGSTOP of the node process alone: the guardian freezes its container in time."""
    stopped_for_a_minute(place, place.owner.pids("node"))


def test_the_owners_whole_machine_hangs_for_a_minute(place: Place) -> None:
    """SIGSTOP of everything on the node but the guardian, which stands for what a hang of the rest cannot stop."""
    stopped_for_a_minute(place, all_but_guardian(place.owner))


def test_the_owner_loses_power(place: Place) -> None:
    """Another node serves once the lease has run out and the lock delay is over; the old one comes back as a copy."""
    old = place.owner
    with writing(place.lab, place.folder) as acks:
        place.wait_for_acks(acks, [old.name])
        began_s = time.monotonic()
        old.kill()
        new = place.wait_for_acks(acks, place.others(old))
        assert acks.of(new)[0].sent_s > began_s + TTL_S - TTL_S / 3
        place.lab.start(old.name)
        place.settle()
        assert acks.overlap_s() == 0.0
    assert owner(place.lab) == new


def test_without_failsafe_it_stops_without_etcd_and_comes_back_with_it(place: Place) -> None:
    """Who wants no exception gets none: stopped within half a lease, with the reason, until etcd is back."""
    for node in place.lab.nodes.values():
        path = node.state_dir / "hybrid.toml"
        path.write_text(path.read_text().replace("failsafe = true", "failsafe = false"))
        node.kill_process("node")
    time.sleep(2.0)
    place.settle()
    old = place.owner
    with writing(place.lab, place.folder) as acks:
        place.wait_for_acks(acks, [old.name])
        began_s = time.monotonic()
        place.members.kill()
        place.lab.wait(lambda: place.lab.api("n2").site(SITE)["state"] == "unavailable", "it says that it stopped", 60)
        assert "etcd cannot be reached" in place.lab.api("n2").site(SITE)["trouble"]
        assert acks.all()[-1].acked_s < began_s + TTL_S * 3 / 4 + 1.0
        place.members.start()
        place.wait_for_acks(acks, list(place.lab.nodes))
        place.settle()
        assert acks.overlap_s() == 0.0
