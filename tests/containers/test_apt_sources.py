"""Images are built from the machine's own package sources, and only from those that fit."""

from __future__ import annotations

from hybrid_containers.apt_sources import of_release, passed_on, usable_sources

DEBIAN = """\
# see sources.list(5)
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://other.example/node
Suites: nodistro
Components: main

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Enabled: no
"""


def test_stanzas_of_this_release_are_used() -> None:
    """A local mirror is used; another vendor's repository, or one switched off, is not."""
    found = usable_sources({"debian.sources": DEBIAN}, "bookworm")["debian.sources"]
    assert "mirror.example" in found
    assert "other.example" not in found
    assert "off.example" not in found


def test_lines_of_this_release_are_used() -> None:
    """The older format, with options, comments and another release."""
    text = (
        "# deb http://no.example bookworm main\n"
        "deb [arch=amd64 signed-by=/k.gpg] http://yes.example/debian bookworm-security main\n"
        "deb-src http://no.example/debian bookworm main\n"
        "deb http://no.example/debian bullseye main\n"
        "deb http://no.example/debian bookwormish main\n"
    )
    found = usable_sources({"sources.list": text, "empty.list": ""}, "bookworm")
    assert found == {
        "sources.list": "deb [arch=amd64 signed-by=/k.gpg] http://yes.example/debian bookworm-security main\n"
    }


def test_proxies_are_passed_on() -> None:
    """Behind a proxy the build fetches as the machine's own apt does; nothing else of its settings is taken."""
    dump = ['Acquire::http::Proxy "http://proxy:3128";', 'APT::Install-Recommends "1";', 'Acquire::Retries "3";']
    assert passed_on(dump) == 'Acquire::http::Proxy "http://proxy:3128";\nAcquire::Retries "3";\n'


def test_another_release_comes_from_the_same_mirrors() -> None:
    """A build of another release needs no address of its own; other vendors' repositories are not asked for it."""
    files = {
        "debian.sources": DEBIAN,
        "sources.list": (
            "deb [signed-by=/k.gpg] http://m.example/debian bookworm-security main # of the data centre\n"
            "deb http://vendor.example/bookworm bookworm stable\n"
        ),
    }
    assert of_release(files, "bookworm", "trixie", ["main", "contrib"]) == {
        "debian.sources": (
            "Types: deb deb-src\n"
            "URIs: http://mirror.example/debian\n"
            "Suites: trixie trixie-updates\n"
            "Components: main contrib\n"
        ),
        "sources.list": "deb [signed-by=/k.gpg] http://m.example/debian trixie-security main contrib\n",
    }
    assert of_release(files, "bullseye", "trixie", ["main"]) == {}
