"""The examples in docs/schedulers.md do what the page says."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wavelock.schedulers import dag, priority, round_robin

PAGE = Path(__file__).parents[2] / "docs" / "schedulers.md"
SETTINGS = {
    hook().name: hook().settings
    for hook in (round_robin.wavelock_scheduler, priority.wavelock_scheduler, dag.wavelock_scheduler)
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_python_examples_print_what_they_show() -> None:
    source = "\n".join(blocks("python"))
    example = doctest.DocTestParser().get_doctest(source, {}, PAGE.name, str(PAGE), 0)
    report: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=report.append)
    assert result.attempted > 20
    assert result.failed == 0, "".join(report)


@pytest.mark.parametrize("block", blocks("toml"))
def test_the_settings_shown_are_accepted(block: str) -> None:
    shown: dict[str, Any] = msgspec.toml.decode(block)["scheduler"]
    use = shown.pop("use")
    assert msgspec.to_builtins(msgspec.convert(shown, SETTINGS[use])) == {
        **msgspec.to_builtins(SETTINGS[use]()),
        **shown,
    }


@pytest.mark.parametrize("name", SETTINGS)
def test_every_scheduler_and_setting_is_on_the_page(name: str) -> None:
    _, _, section = PAGE.read_text(encoding="utf-8").partition(f"\n## {name}\n")
    section = section.partition("\n## ")[0]
    assert section
    for field in msgspec.structs.fields(SETTINGS[name]):
        assert f"| `{field.name}` |" in section
