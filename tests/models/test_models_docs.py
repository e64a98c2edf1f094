"""`docs/models.md` says of keys, defaults, providers and reasons what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wavelock.core.abi import Reason
from wavelock.core.profile import ModelSection
from wavelock.models.onnx_graph import RANDOM_OPERATORS
from wavelock.models.onnx_providers import PROVIDERS
from wavelock.models.repository import SHORTEST_DIGEST

TEXT = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table after a heading."""
    after = TEXT[TEXT.index(heading) :]
    table = re.search(r"(?:^\|.*\n)+", after, re.MULTILINE)
    assert table is not None
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].strip().splitlines()]
    return lines[2:]


def test_every_key_of_a_model_is_described_with_its_default() -> None:
    described = {row[0].strip("`"): row[2].strip("`") for row in rows("## `[[models]]`")}
    fields = msgspec.structs.fields(ModelSection)
    assert list(described) == [field.name for field in fields]
    for field in fields:
        if field.default is not msgspec.NODEFAULT and field.default is not None:
            default: Any = list(field.default) if isinstance(field.default, tuple) else field.default
            assert described[field.name] == json.dumps(default)


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_provider_is_described(name: str) -> None:
    assert any(f"`{name}`" in row[1] for row in rows("# Models"))


def test_every_reason_is_described_with_its_number() -> None:
    described = {row[0].strip("`"): int(row[1]) for row in rows("## Requests and answers")}
    assert described == {reason.name: reason.value for reason in Reason if reason >= Reason.BAD_TENSOR}


def test_the_shortest_digest_is_described() -> None:
    assert f"at least {SHORTEST_DIGEST} hex digits" in re.sub(r"\s+", " ", TEXT)


def test_the_random_operators_of_onnx_are_described() -> None:
    for operator in ("RandomNormal", "RandomUniform", "Bernoulli", "Multinomial"):
        assert operator in RANDOM_OPERATORS
        assert f"`{operator}`" in TEXT
