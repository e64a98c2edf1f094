"""A stage of puppets for tests of the kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from puppets import Stage, open_puppets

OpenStage = Callable[[str], Stage]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[OpenStage]:
    """Opens a stage for a profile's text; closed with the test."""
    with ExitStack() as opened:
        yield lambda text: Stage(opened.enter_context(open_puppets(tmp_path, text)))
