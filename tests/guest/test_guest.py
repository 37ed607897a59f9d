"""The OpenZFS guest as seen from this machine: what goes in, what comes out, and that it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import time
from functools import partial
from pathlib import Path

import pytest

from hybrid.errors import ImageError
from hybrid.lab.guest import children, payload, report, selection
from hybrid.lab.guest.machine import GuestError, Ran, again, attend
from hybrid.lab.guest.recipe import FOLDER, digest, load, requirements

ROOT = Path(__file__).parents[2]
JUNIT = """<?xml version="1.0"?><testsuites><testsuite name="pytest" time="12.34">
<testcase classname="tests.contract.test_pool" name="test_a" time="1.26"/>
<testcase classname="tests.contract.test_pool" name="test_b"><skipped message="no module&#10;here"/></testcase>
<testcase classname="tests.contract.test_pool" name="test_c"><failure message="1 == 2&#10;more">x</failure></testcase>
<testcase classname="tests.contract.test_pool" name="test_d"><error message="no pool">x</error></testcase>
</testsuite></testsuites>"""


def test_the_guest_gets_what_the_project_requires() -> None:
    """A requirement that is added is in the guest after the next build; what Debian has better is not fetched."""
    recipe = load(ROOT / FOLDER)
    wanted = requirements((ROOT / "pyproject.toml").read_text(), recipe)
    names = [line.split()[0].partition("[")[0] for line in wanted]
    assert {"twisted", "msgspec", "pytest", "hypothesis"} <= set(names)
    assert not {"lxc", "pyzfs", "mypy"} & set(names)
    with pytest.raises(ImageError, match="lxc, pyzfs"):
        requirements('[project]\ndependencies = ["a"]\n[dependency-groups]\ndev = ["pytest"]\n', recipe)


def test_the_disk_is_built_again_when_what_is_on_it_changes(tmp_path: Path) -> None:
    """Its name follows recipe, first process, requirements and architecture, and nothing else."""
    for name in ("recipe.toml", "init"):
        (tmp_path / name).write_bytes((ROOT / FOLDER / name).read_bytes())
    first = digest(tmp_path, ["twisted >= 26"], "x86_64")
    (tmp_path / "inside").write_text("is not on the disk")
    assert digest(tmp_path, ["twisted >= 26"], "x86_64") == first
    others = [digest(tmp_path, ["twisted >= 27"], "x86_64"), digest(tmp_path, ["twisted >= 26"], "arm64")]
    for name in ("recipe.toml", "init"):
        (tmp_path / name).write_text((tmp_path / name).read_text() + "\n# changed\n")
        others.append(digest(tmp_path, ["twisted >= 26"], "x86_64"))
    assert len({first, *others}) == 5


@pytest.mark.parametrize("pattern", ["../etc", "/etc", "usr/$(id)", ""])
def test_a_recipe_cannot_remove_what_is_outside_of_the_disk(tmp_path: Path, pattern: str) -> None:
    """A pattern that is absolute, climbs, or is more than a pattern is refused before anything is built."""
    text = (ROOT / FOLDER / "recipe.toml").read_text().replace('"usr/src"', f'"{pattern}"')
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(ImageError, match="must be relative"):
        load(tmp_path)


def test_the_checkout_goes_in_as_it_is(tmp_path: Path) -> None:
    """New files and changes that are not committed are tested too; what git ignores stays out; words stay words."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    subprocess.run(["git", "init", "-q", str(checkout)], check=True)
    (checkout / ".gitignore").write_text("*.log\n")
    (checkout / "new.py").write_text("new")
    (checkout / "big.log").write_text("ignored")
    image = tmp_path / "static.tar"
    image.write_bytes(b"image")
    payload.write(tmp_path / "disk", checkout, [image], ["pytest", "-k", "not it's"], 60.0)
    with tarfile.open(tmp_path / "disk") as archive:
        content = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]  # files
    assert set(content) == {".gitignore", "new.py"} | {
        f".guest/{name}" for name in ("images/static.tar", "argv", "environment", "deadline_s")
    }
    assert content[".guest/argv"] == b"pytest\0-k\0not it's\0"
    assert (tmp_path / "disk").stat().st_size % 512 == 0
    with pytest.raises(ImageError, match="not a git checkout"):
        payload.tracked(tmp_path)


def test_a_report_tells_of_every_test() -> None:
    """Name, outcome, seconds and the first line of why, as the junit files have them."""
    cases = report.read_junit(JUNIT)
    name = "tests.contract.test_pool::test_"
    assert cases == (
        report.Case(name + "a", report.PASSED, 1.3),
        report.Case(name + "b", report.SKIPPED, 0.0, "no module"),
        report.Case(name + "c", report.FAILED, 0.0, "1 == 2"),
        report.Case(name + "d", report.FAILED, 0.0, "no pool"),
    )
    found = report.summed_up(cases, 1, {"zfs": "2.3"}, {"boot": 20.04}, "")
    assert (found["ok"], found["passed"], found["failed"], found["skipped"]) == (False, 1, 2, 1)
    assert (found["seconds"], found["versions"]) == ({"boot": 20.0}, {"zfs": "2.3"})
    assert found["tests"][2] == {"test": name + "c", "outcome": "failed", "seconds": 0.0, "why": "1 == 2"}
    assert f"failed: {name}d: no pool" in report.sentence(found)


def test_a_run_counts_only_when_it_passed_something_and_came_to_its_end() -> None:
    """No result, no test, nothing but skipped ones, a failed tear-down, a stop: not well, whatever the status says."""
    skipped = report.read_junit('<testsuite><testcase name="a"><skipped message="x"/></testcase></testsuite>')
    tear_down = report.read_junit('<s><testcase name="a"/><testcase name="a"><error message="x"/></testcase></s>')
    good = report.read_junit('<testsuite time="1"><testcase name="a"/></testsuite>')
    assert report.summed_up(good, 0, {}, {})["ok"] is True
    for cases, status, why in (((), 0, ""), (skipped, 0, ""), (tear_down, 0, ""), (good, None, ""), (good, 0, "cut")):
        assert report.summed_up(cases, status, {}, {}, why)["ok"] is False
    with pytest.raises(ValueError, match="junit"):
        report.read_junit("")


def await_end(stat: Path) -> None:
    """Until the process is gone, or waits for who reaps it: SIGKILL takes a moment."""
    end_s = time.monotonic() + 30
    try:
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < end_s
            time.sleep(0.01)
    except (FileNotFoundError, ProcessLookupError):
        return


def test_a_step_of_the_build_ends_and_says_what_was_wrong(tmp_path: Path) -> None:
    """One that fails shows its last lines; one that hangs is stopped with its children; one that works is silent."""
    log, said = tmp_path / "log", list[str]()
    children.run(["sh", "-c", "echo fine"], log, 60.0, said.append)
    with pytest.raises(ImageError, match=r"(?s)status 3.*no such mirror"):
        children.run(["sh", "-c", "echo no such mirror >&2; exit 3"], log, 60.0, said.append)
    assert (said, log.read_text()) == ([], "fine\nno such mirror\n")
    with pytest.raises(ImageError, match="did not end"):
        children.run(["sh", "-c", f"sleep 600 & echo $! > {tmp_path / 'pid'}; wait"], log, 2.0, said.append)
    pid = (tmp_path / "pid").read_text().strip()
    await_end(Path("/proc", pid, "stat"))
    assert said == [f"sh, after {said[0].split()[2]} s: no such mirror"]


def test_groups_of_tests_run_side_by_side() -> None:
    """The guest fails when one group does, whichever; lines tell of which group they are; results are not mixed up."""
    selected = selection.read("-q # short\n-k\nnot it's\n==\ntests/a.py\n\n==\ntests/b.py\n")
    assert (selected.options, selected.groups) == (("-q", "-k", "not it's"), (("tests/a.py",), ("tests/b.py",)))
    for bad, status in (("tests/a.py", 1), ("tests/b.py", 1), ("tests/c.py", 0)):
        shell, flag, script = selection.command(selected)
        fake = f'pytest() {{ printf "%s\\n" "$*"; [[ "$*" != *{bad}* ]]; }}\n'
        ran = subprocess.run([shell, flag, fake + script], capture_output=True, text=True, check=False, timeout=60)
        assert (ran.returncode, sorted(ran.stdout.splitlines())) == (
            status,
            [
                "0: -q -k not it's tests/a.py --junitxml=/results/junit-0.xml",
                "1: -q -k not it's tests/b.py --junitxml=/results/junit-1.xml",
            ],
        )
    with pytest.raises(ValueError, match="=="):
        selection.read("-q\ntests")


def test_a_run_that_is_stopped_tells_what_it_has(tmp_path: Path) -> None:
    """At the deadline, each group still writes down which tests had passed; the run is not well."""
    hanging = "import pathlib, time\ndef test_a(): pass\ndef test_b(): pathlib.Path('begun').touch(); time.sleep(600)\n"
    (tmp_path / "test_it.py").write_text(hanging)
    begun = subprocess.Popen(
        selection.command(selection.read("-p\nno:cacheprovider\n-p\nleaving\n==\ntest_it.py"), str(tmp_path)),
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / FOLDER),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        end_s = time.monotonic() + 60
        while not (tmp_path / "begun").exists():
            assert begun.poll() is None and time.monotonic() < end_s
            time.sleep(0.05)
        os.killpg(begun.pid, signal.SIGINT)
        assert begun.wait(60) == 1
    finally:
        children.end(begun)
    cases = report.read_junit((tmp_path / selection.junit(0)).read_text())
    assert ("test_it::test_a", report.PASSED) in [(case.test, case.outcome) for case in cases]


def test_a_guest_over_which_qemu_tripped_is_booted_again(tmp_path: Path) -> None:
    """Three times at most; a guest that falls over for any other reason is not, for that is a result."""
    console, said, boots = tmp_path / "console", list[str](), list[int]()

    def falls(times: int, words: str) -> Ran:
        boots.append(len(boots))
        if len(boots) > times:
            return Ran(0, 1.0, 1.0, 1.0, {})
        console.write_text(f"[    1.8] {words}: 0000 [#1]\n")
        raise GuestError("the guest did not boot")

    assert again(lambda: falls(2, "Oops: int3"), console, said.append).status == 0
    assert (len(boots), len(said)) == (3, 2)
    for times, words, expected in ((9, "Oops: int3", 3), (1, "Oops: general protection fault", 1)):
        boots.clear()
        with pytest.raises(GuestError, match="did not boot"):
            again(partial(falls, times, words), console, said.append)
        assert len(boots) == expected


def pretend(script: str) -> list[str]:
    """A machine that is a Python script."""
    return [sys.executable, "-u", "-c", script]


def test_a_guest_is_attended_until_it_is_off(tmp_path: Path) -> None:
    """Every line is passed on as it comes."""
    said: list[str] = []
    attend(
        pretend("print('hello'); print('guest: ready after 9 s'); print('done')"), tmp_path / "log", 60, 60, said.append
    )
    assert said == ["hello", "guest: ready after 9 s", "done"]


@pytest.mark.parametrize(
    ("script", "boot_s", "run_s", "words"),
    [
        ("print('panic')", 60.0, 60.0, "did not boot: it went off"),
        ("import time; time.sleep(600)", 0.3, 60.0, "did not boot in time"),
        ("import time; print('guest: ready'); time.sleep(600)", 60.0, 0.3, "did not end in time"),
    ],
)
def test_a_guest_never_hangs(tmp_path: Path, script: str, boot_s: float, run_s: float, words: str) -> None:
    """One that panics, does not boot or does not end is switched off, and nothing of it runs any more."""
    marked = f"import os; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); {script}"
    with pytest.raises(GuestError, match=words):
        attend(pretend(marked), tmp_path / "log", boot_s, run_s, lambda line: None)
    if (tmp_path / "pid").exists():
        assert not Path("/proc", (tmp_path / "pid").read_text()).exists()
