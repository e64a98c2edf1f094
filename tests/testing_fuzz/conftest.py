"""Engines that this Python has, and binaryen where it is installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from wavelock.testing.fuzz.binaryen import PROGRAM, Binaryen
from wavelock.testing.fuzz.campaign import open_engines
from wavelock.testing.fuzz.subjects import Open, available


@pytest.fixture(scope="session")
def engines() -> dict[str, Open]:
    """All that this Python has."""
    return open_engines(available())


@pytest.fixture
def binaryen() -> Iterator[Binaryen]:
    """binaryen, or the reason why the test is skipped."""
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"{PROGRAM} is not on the PATH: install binaryen")
    found = Binaryen()
    yield found
    found.close()
