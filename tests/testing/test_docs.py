"""The page of the suite says what there is: its programs run, its tables are whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from wavelock import Registry
from wavelock.cli.app import app
from wavelock.testing import WORKLOADS, Check, Report, Status, run_conformance
from wavelock.testing.differences import Place

PAGE = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def report(registry: Registry) -> Report:
    """A small one."""
    return run_conformance(
        registry, engines=["wasmtime"], schedulers=["dag"], workers=[("inline", 1)], workloads=["state"]
    )


def programs() -> Iterator[str]:
    for fence in re.finditer(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        yield fence[1]


def test_its_programs_run() -> None:
    found = list(programs())
    assert len(found) == 3
    assert all("assert " in program for program in found)
    for program in found:
        exec(compile(program, "docs/conformance.md", "exec"), {"__name__": "example"})


def test_every_workload_is_in_its_table() -> None:
    rows = re.findall(r"^\| (`[a-z, `-]+`) \| .+ \|$", PAGE, re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`([a-z-]+)`", row)]
    assert not {workload.name for workload in WORKLOADS} - set(names)


def test_every_option_is_in_its_table() -> None:
    options = [each for parameter in app.commands["conformance"].params for each in parameter.opts]
    assert len(options) > 8
    assert not [option for option in options if f"`{option}`" not in PAGE]


def test_every_key_of_the_json_is_in_its_table(report: Report) -> None:
    values = report.as_dict()
    keys = {*values, *values["versions"], *values["combinations"][0], *values["workloads"][0], *values["counts"]}
    keys |= set(values["digests"]["state"]["dag"])
    assert not [key for key in sorted(keys) if f"`{key}`" not in PAGE]


def test_checks_statuses_and_places_are_named() -> None:
    assert all(f"| `{check.value}` |" in PAGE for check in Check)
    assert all(status.value in PAGE for status in Status)
    kinds = re.findall(r"`(\w+)`", (Place.__doc__ or "").partition("what: ")[2])
    assert len(kinds) == 12
    assert not [kind for kind in kinds if kind != "digest" and f"`{kind}`" not in PAGE]


def test_every_part_of_a_report_is_in_its_table() -> None:
    parts = {name for name in dir(Report) if not name.startswith("_")} | set(Report.__dataclass_fields__)
    assert not [name for name in sorted(parts) if not re.search(rf"`{name}(\(\))?`", PAGE)]
