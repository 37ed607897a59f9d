"""The fuzz targets, for a moment each: `make fuzz` runs them for longer."""

from __future__ import annotations

import pytest

from tests.fuzz.http import TARGETS, run


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_is_too_odd(name: str) -> None:
    """Whatever a stranger sends is understood, refused or waited for."""
    assert run(name, 0.3, seed=1) > 0
