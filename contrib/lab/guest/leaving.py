"""
pytest in the guest ends when its tests have ended, whatever thread is still in a call of the kernel's ZFS.

A stream that a failed test left open would else keep the process, and with it the guest, until its deadline. At that,
SIGINT has it write down the results that there are.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

_status = [1]
signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells have what runs in the background ignore


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Say at once why a test failed: who falls over later takes what is told at the end with it."""
    if report.failed:
        print(f"\n{report.longreprtext}", flush=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remember how it ended."""
    _status[0] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave, and say who is left behind."""
    waiting = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if waiting:
        print(f"threads that are still at work: {', '.join(waiting)}")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_status[0])
