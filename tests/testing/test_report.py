"""The report: as JSON, as a page, and beside a report that was made elsewhere."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from wavelock import Registry, UserError
from wavelock.testing import Check, Report, Status, compare, run_conformance
from wavelock.testing.html import render
from wavelock.testing.report import content, statuses, worst


@pytest.fixture(scope="module")
def good(registry: Registry) -> Report:
    """Two workloads under two schedulers, all equal."""
    return run_conformance(
        registry, engines=["wasmtime"], schedulers=["round-robin", "dag"], workers=[("inline", 1), ("threads", 2)],
        workloads=["state", "faults"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def bad(registry_with: Callable[[str], Registry]) -> Report:
    """A difference, an error's text from a plugin, and a plugin that cannot be used."""
    registry = registry_with("FuelEngine")
    report = run_conformance(
        registry, engines=["canary"], schedulers=["dag"], workers=[("inline", 1)], workloads=["state"]
    )
    broken = replace(report.outcomes[1], status=Status.ERROR, told="<script>alert('&')</script>", difference=None)
    return replace(report, outcomes=[report.outcomes[0], broken, *report.outcomes[2:]])


def plain(report: Report) -> dict[str, Any]:
    """As another process reads it."""
    values: dict[str, Any] = json.loads(json.dumps(report.as_dict()))
    return values


# ---- JSON ----


def test_a_report_is_plain_values(good: Report) -> None:
    values = plain(good)
    assert values == good.as_dict()
    assert values["conforms"] is True
    assert values["cases"] == len(good.outcomes) == 19
    assert values["counts"] == {"equal": 19, "differs": 0, "error": 0, "unavailable": 0}
    assert [row["name"] for row in values["workloads"]] == ["state", "faults"]
    assert values["combinations"][1] == {
        "scheduler": "round-robin", "engine": "wasmtime", "transport": "shared-memory", "workers": "threads",
        "count": 2, "backend": "",
    }  # fmt: skip
    assert values["differences"] == values["errors"] == values["not_run"] == []
    assert set(values["digests"]) == {"state", "faults"}
    run = values["digests"]["faults"]["dag"]
    assert len(run["digest"]) == 64
    assert run["digest"].startswith(run["waves"][-1][1])
    assert set(values["versions"]) == {
        "wavelock", "abi", "digest", "form", "python", "numpy", "system", "engines",
    }  # fmt: skip
    assert "wasmtime" in values["versions"]["engines"]


def test_a_difference_has_both_values_and_places(bad: Report) -> None:
    values = plain(bad)
    assert values["conforms"] is False
    assert values["counts"] == {"equal": 0, "differs": 3, "error": 1, "unavailable": 0}
    difference, *others = values["differences"]
    assert [each["check"] for each in others] == ["moved", "seed"]
    assert difference.pop("reference")["engine"] == "wasmtime"
    assert difference.pop("combination")["engine"] == "canary"
    assert int(difference.pop("found")) == int(difference.pop("expected")) + 1
    assert difference == {"workload": "state", "check": "same", "wave": 2, "agent": "keeper/1", "what": "fuel"}
    (error,) = values["errors"]
    assert (error["workload"], error["check"], error["reason"]) == ("state", "again", "<script>alert('&')</script>")


def test_digests_are_the_same_each_time(good: Report, registry: Registry) -> None:
    again = run_conformance(
        registry, engines=["wasmtime"], schedulers=["dag"], workers=[("inline", 1)], workloads=["state"]
    )
    assert again.as_dict()["digests"]["state"]["dag"] == good.as_dict()["digests"]["state"]["dag"]


def test_a_matrix_has_a_cell_for_each_combination_and_workload(good: Report, bad: Report) -> None:
    cells = list(statuses(good))
    assert len(cells) == len(good.combinations) * len(good.workloads)
    assert all(worst(outcomes) is Status.EQUAL for _, _, outcomes in cells)
    ((_, _, outcomes),) = statuses(bad)
    assert [outcome.case.check for outcome in outcomes] == [Check.SAME, Check.AGAIN, Check.MOVED, Check.SEED]
    assert worst(outcomes) is Status.DIFFERS
    assert worst(outcomes[1:2]) is Status.ERROR
    assert worst([]) is Status.UNAVAILABLE


# ---- beside another one ----


def test_equal_reports(good: Report) -> None:
    compared = compare(good.as_dict(), plain(good))
    assert (compared.runs, compared.differences, compared.skipped) == (4, [], [])


def change_fuel(run: dict[str, Any]) -> None:
    run["waves"][3][3] += 1
    run["waves"][3][1] = "0" * 16


def change_digest(run: dict[str, Any]) -> None:
    for row in run["waves"][2:]:
        row[1] = "0" * 16


def change_header(run: dict[str, Any]) -> None:
    run["header"] = "0" * 64


def drop_wave(run: dict[str, Any]) -> None:
    run["waves"].pop()


def change_end(run: dict[str, Any]) -> None:
    run["ended"] = "exited"


@pytest.mark.parametrize(
    ("change", "wave", "what"),
    [
        (change_fuel, 3, "fuel"),
        (change_digest, 2, "digest"),
        (change_header, None, "header"),
        (drop_wave, None, "waves"),
        (change_end, None, "ended"),
    ],
)
def test_a_difference_names_workload_scheduler_and_wave(
    good: Report, change: Callable[[dict[str, Any]], None], wave: int | None, what: str
) -> None:
    other = plain(good)
    change(other["digests"]["state"]["dag"])
    (difference,) = compare(good.as_dict(), other).differences
    assert (difference["workload"], difference["scheduler"]) == ("state", "dag")
    assert (difference["wave"], difference["what"]) == (wave, what)
    assert difference["found"] != difference["expected"]


def test_what_is_not_in_both_is_told(good: Report) -> None:
    other = plain(good)
    other["workloads"][0]["content"] = "0" * 64
    del other["digests"]["faults"]["dag"]
    compared = compare(good.as_dict(), other)
    assert compared.runs == 1
    assert list(compared.skipped) == ["state: another workload", "faults, dag: not in the other report"]


def no_format(other: dict[str, Any]) -> None:
    other["format"] = 99


def no_digests(other: dict[str, Any]) -> None:
    other["digests"] = []


def other_form(other: dict[str, Any]) -> None:
    other["versions"]["form"] = 99


def other_workloads(other: dict[str, Any]) -> None:
    other["workloads"] = []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (no_format, "not a conformance report of format 1"),
        (no_digests, "not a whole conformance report"),
        (other_form, "the reports cannot agree: version of the form"),
        (other_workloads, "no run in common"),
    ],
)
def test_what_cannot_be_compared(good: Report, change: Callable[[dict[str, Any]], None], told: str) -> None:
    other = copy.deepcopy(plain(good))
    change(other)
    with pytest.raises(UserError, match=told):
        compare(good.as_dict(), other)


@pytest.mark.parametrize("other", [None, [], "text", {}])
def test_what_is_no_report(good: Report, other: object) -> None:
    with pytest.raises(UserError, match="not a conformance report"):
        compare(good.as_dict(), other)


def test_a_workloads_content_is_all_of_it(good: Report) -> None:
    workload = good.workloads[0]
    changed = [
        replace(workload, profile=workload.profile + "\n"),
        replace(workload, files={**workload.files, "more": b""}),
        replace(workload, files={**workload.files, "keeper.wat": "(module)"}),
        replace(workload, schedulers={"dag": {"width": 1}}),
    ]
    assert len({content(each) for each in [workload, *changed]}) == 5
    assert content(workload) == content(replace(workload, summary="other words"))


# ---- as a page ----


class Page(HTMLParser):
    """Tags and text; fails where a tag is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not {name for name, _ in attrs} & {"src", "href", "onclick"}, "nothing from elsewhere"
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_stands_alone_and_says_it_all(good: Report) -> None:
    page = Page(render(good))
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert "Conforms" in page.text
    assert "19 cases of 2 workloads under 4 combinations: 19 equal." in page.text
    assert good.as_dict()["digests"]["state"]["dag"]["digest"] in page.text
    assert page.tags.count("td") >= 8
    assert "Differences" not in page.text


def test_a_page_escapes_what_it_shows(bad: Report) -> None:
    text = render(bad, compare({**plain(bad)}, plain(bad)))
    page = Page(text)
    assert "script" not in page.tags
    assert "<script>alert('&')</script>" in page.text
    assert "Does not conform" in page.text
    assert "keeper/1" in page.text
    assert "Against the other report" in page.text
    assert "1 runs compared, 0 differ." in page.text


def test_a_page_has_the_differences_to_another_report(good: Report) -> None:
    other = plain(good)
    change_fuel(other["digests"]["state"]["dag"])
    other["workloads"][1]["content"] = ""
    page = Page(render(good, compare(good.as_dict(), other)))
    assert "2 runs compared, 1 differ." in page.text
    assert "faults: another workload" in page.text
