"""The report as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from wavelock.testing.combinations import Combination
from wavelock.testing.report import Compared, Outcome, Report, statuses, worst

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em; color: #1c2330; }
h1 { margin-bottom: 0; }
h2 { margin-top: 2em; }
table { border-collapse: collapse; }
th, td { border: 1px solid #d5dae3; padding: .25em .6em; text-align: left; vertical-align: top; }
thead th { background: #f2f4f8; }
.matrix { overflow-x: auto; }
.matrix thead th + th { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap; }
.matrix td { text-align: center; }
.equal { background: #dff3e3; color: #14602a; }
.differs { background: #f9d6d5; color: #8c1512; font-weight: bold; }
.error { background: #fbe5c8; color: #7d4700; font-weight: bold; }
.unavailable { background: #eceef2; color: #69717f; }
code { font-family: ui-monospace, monospace; font-size: .92em; overflow-wrap: anywhere; }
"""
MARKS: Final = {"equal": "=", "differs": "≠", "error": "!", "unavailable": "–"}


def render(report: Report, compared: Compared | None = None) -> str:
    """The whole page. Everything that comes from a plugin, an agent or a file is escaped."""
    counts = report.counts
    verdict = "Conforms" if report.conforms else "Does not conform"
    summary = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    parts = [
        f"<h1>{verdict}</h1>",
        f"<p>{report.cases} cases of {len(report.workloads)} workloads under {len(report.combinations)} combinations: "
        f"{escape(summary)}.</p>",
        _versions(report),
        f"<h2>Matrix</h2>{_matrix(report)}",
        _differences(report),
        _reasons("Errors", report.errors),
        _reasons("Not run", report.not_run),
        _compared(compared),
        _unavailable(report),
        _workloads(report),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Wavelock conformance: {verdict.lower()}</title>\n<style>{_STYLE}</style>\n"
        + "\n".join(part for part in parts if part)
        + "\n</html>\n"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"


def _versions(report: Report) -> str:
    found = report.versions
    engines = ", ".join(f"{name} {version}" for name, version in found["engines"].items())
    return (
        f"<p>Wavelock {escape(found['wavelock'])} (form {found['form']}, ABI {found['abi']}, digest {found['digest']}),"
        f" Python {escape(found['python'])}, {escape(found['system'])}; {escape(engines)}.</p>"
    )


def _matrix(report: Report) -> str:
    heads = "".join(f"<th>{escape(workload.name)}</th>" for workload in report.workloads)
    rows: dict[Combination, list[str]] = {}
    for combination, _, outcomes in statuses(report):
        rows.setdefault(combination, []).append(_cell(outcomes))
    body = "".join(f"<tr><th>{escape(str(each))}</th>{''.join(cells)}</tr>\n" for each, cells in rows.items())
    legend = ", ".join(f'<span class="{name}">&nbsp;{mark}&nbsp;</span> {name}' for name, mark in MARKS.items())
    return (
        f'<div class="matrix"><table><thead><tr><th>combination</th>{heads}</tr></thead><tbody>\n{body}</tbody></table>'
        f"</div><p>{legend}</p>"
    )


def _cell(outcomes: Sequence[Outcome]) -> str:
    status = worst(outcomes).value
    told = "; ".join(f"{each.case.check.value}: {each.told or each.status.value}" for each in outcomes)
    return f'<td class="{status}" title="{escape(told)}">{MARKS[status]}</td>'


def _differences(report: Report) -> str:
    if not report.differences:
        return ""
    rows = [
        (
            each.case.workload.name, each.case.combination, each.case.check.value, each.reference,
            "" if each.wave is None else each.wave, each.agent, each.what, each.found, each.expected,
        )
        for each in report.differences
    ]  # fmt: skip
    heads = ("workload", "combination", "check", "compared with", "wave", "agent", "what", "found", "expected")
    return f"<h2>Differences</h2>{_table(heads, rows)}"


def _reasons(head: str, outcomes: Sequence[Outcome]) -> str:
    if not outcomes:
        return ""
    rows = [(each.case.workload.name, each.case.combination, each.case.check.value, each.told) for each in outcomes]
    return f"<h2>{head}</h2>{_table(('workload', 'combination', 'check', 'reason'), rows)}"


def _compared(compared: Compared | None) -> str:
    if compared is None:
        return ""
    columns = ("workload", "scheduler", "wave", "what", "found", "expected")
    rows = [["" if row[key] is None else row[key] for key in columns] for row in compared.differences]
    skipped = "".join(f"<li>{escape(text)}</li>" for text in compared.skipped)
    return (
        f"<h2>Against the other report</h2><p>{compared.runs} runs compared, {len(rows)} differ.</p>"
        + (_table(columns, rows) if rows else "")
        + (f"<p>Not compared:</p><ul>{skipped}</ul>" if skipped else "")
    )


def _unavailable(report: Report) -> str:
    rows = [(each.family, each.name, each.reason, each.remedy) for each in report.unavailable]
    return f"<h2>Unavailable</h2>{_table(('family', 'name', 'reason', 'remedy'), rows)}" if rows else ""


def _workloads(report: Report) -> str:
    """What each workload does, with the digests of its reference runs."""
    digests = report.as_dict()["digests"]
    rows = [
        (each.name, each.summary, scheduler, run["digest"], len(run["waves"]))
        for each in report.workloads
        for scheduler, run in digests.get(each.name, {}).items()
    ]
    return f"<h2>Workloads</h2>{_table(('workload', 'what', 'scheduler', 'digest', 'waves'), rows)}"
