"""The folder layout keeps `import dns` meaning dnspython, and history safe from being thrown away."""

import re
import subprocess
from pathlib import Path

import dns.message

ROOT = Path(__file__).parent.parent


def test_component_folders_are_not_packages() -> None:
    """No `__init__.py` where it would shadow an installed package (`dns/` above all)."""
    folders = [ROOT / name for name in ("proxy", "dns", "replicator", "containers")]
    assert [folder for folder in folders if (folder / "__init__.py").exists()] == []
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_dns_is_dnspython() -> None:
    """`import dns` is the library, from any folder."""
    assert "hybrid" not in str(Path(dns.message.__file__).parent.parent.name)
    assert dns.message.make_query("example.org", "A").to_wire()


def test_nothing_ever_receives_or_rolls_back_by_force() -> None:
    """`zfs receive -F`, `zfs rollback` and `send -R` destroy or smuggle history; no source file says them."""
    forbidden = re.compile(r"""["']-(?:F|Fu|uF|vF|R)["']|["']rollback["'],""")
    sources = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    zfs_code = [name for name in sources if re.search(r"storage|replicator|lab", name) and "tests/" not in name]
    hits = [name for name in zfs_code if forbidden.search((ROOT / name).read_text())]
    assert hits == []
