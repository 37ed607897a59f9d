"""Where nothing could be compiled, the front doors do the same: tests of theirs, with the compiled forms hidden."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_proxy.head import COMPILED

HERE = Path(__file__).parent
PATIENCE_S = 500.0
TESTS = ("test_transport", "test_front", "test_hold", "test_brief", "test_stream_of_requests")
HIDDEN = """
import sys
for name in ("_heads", "_brief", "_lean"):
    sys.modules["hybrid_proxy." + name] = None
import pytest
from hybrid_proxy import brief, cores, head
from hybrid_proxy.lean import core, reactor, stream
assert not head.COMPILED and brief.ask is brief.ask_in_python and cores.ClientCore is cores.ClientInPython
assert reactor.poll is core.poll_in_python and issubclass(stream.Stream, core.CoreInPython)
sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


@pytest.mark.skipif(not COMPILED, reason="the compiled forms are not built: the tests ran without them already")
def test_the_forms_in_python_do_the_same() -> None:
    """Transports, requests and what becomes of them on the way."""
    argv = [sys.executable, "-c", HIDDEN, *(str(HERE / f"{name}.py") for name in TESTS)]
    ended = subprocess.run(argv, cwd=HERE.parent.parent, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-1000:]
