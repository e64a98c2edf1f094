"""The suite for pytest, one test a case:

    pytest -p wavelock.testing.plugin --pyargs wavelock.testing --wavelock-engine NAME

A test of one's own may ask for the fixtures: `wavelock_case` makes it one test a case, and `wavelock_conformance` is
the suite that runs it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

import pytest

from wavelock.core.errors import UserError
from wavelock.testing.combinations import Selection
from wavelock.testing.conformance import Conformance
from wavelock.testing.report import Case

_OPTIONS: Final = {
    "engine": "engine",
    "scheduler": "scheduler",
    "transport": "transport",
    "workers": "kind of worker, NAME or NAME:COUNT",
    "backend": "inference backend",
    "workload": "workload",
}
SUITE: Final = "suite.py"
_SUITE: Final = pytest.StashKey[Conformance]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options that pick what takes part, as those of `wavelock conformance`."""
    group = parser.getgroup("wavelock", "Wavelock's conformance suite")
    for name, what in _OPTIONS.items():
        kind = _kind_and_count if name == "workers" else str
        group.addoption(f"--wavelock-{name}", action="append", metavar="NAME", type=kind, help=f"only this {what}")
    group.addoption("--wavelock-quick", action="store_true", help="fewer workloads, and two workers")


def _kind_and_count(text: str) -> tuple[str, int | None]:
    kind, colon, count = text.partition(":")
    if colon and not (count.isascii() and count.isdecimal()):
        raise argparse.ArgumentTypeError(f'{text}: expected NAME or NAME:COUNT, such as "threads:4"')
    return kind, int(count) if colon else None


def _suite(config: pytest.Config) -> Conformance:
    """The suite of this session: made once, when the first test asks for its cases."""
    if _SUITE not in config.stash:
        asked = {name: config.getoption(f"--wavelock-{name}") for name in _OPTIONS}
        try:
            config.stash[_SUITE] = Conformance(
                selection=Selection(
                    asked["scheduler"],
                    asked["engine"],
                    asked["transport"],
                    asked["workers"],
                    asked["backend"],
                    config.getoption("--wavelock-quick"),
                ),
                workloads=asked["workload"],
            )
        except UserError as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[_SUITE]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Find the suite where the package is asked for: its name is not one that pytest looks for by itself."""
    if file_path == Path(__file__).with_name(SUITE) and not parent.session.isinitpath(file_path):
        return pytest.Module.from_parent(parent, path=file_path)
    return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a case, for tests that ask for one."""
    if "wavelock_case" in metafunc.fixturenames:
        cases = _suite(metafunc.config).cases
        metafunc.parametrize("wavelock_case", cases, ids=[_name(case) for case in cases])


def _name(case: Case) -> str:
    each = case.combination
    parts = (case.workload.name, each.scheduler, each.engine, each.transport, f"{each.workers}:{each.count}")
    return "-".join((*parts, *([each.backend] if each.backend else []), case.check.value))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the suite's folder."""
    suite = config.stash.get(_SUITE, None)
    if suite is not None:
        suite.close()


@pytest.fixture(scope="session")
def wavelock_conformance(pytestconfig: pytest.Config) -> Conformance:
    """The suite, as the options pick it."""
    return _suite(pytestconfig)
