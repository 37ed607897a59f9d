"""The fuzz targets, for a moment each: `make fuzz` runs them for longer."""

from __future__ import annotations

import pytest

from tests.fuzz import http, ssh

ALL = {**http.TARGETS, **ssh.TARGETS}


@pytest.mark.parametrize("name", ALL)
def test_no_input_is_too_odd(name: str) -> None:
    """Whatever a stranger sends is understood, refused or waited for."""
    assert http.run(ALL, name, 0.3, seed=1) > 0
