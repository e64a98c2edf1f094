"""The operators whose signature does not say all, by code: each has a handler that checks types and makes edits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from wavelock.core.form.control import CONTROL
from wavelock.core.form.data import DATA, atomic, lane, select, select_typed
from wavelock.core.form.function import LOCAL_GET, Handler
from wavelock.core.form.immediates import Immediate
from wavelock.core.form.steps import STEPS, Step

_BY_NAME: Final[Mapping[str, Handler]] = {**CONTROL, **DATA}


def _handler(step: Step) -> Handler:
    operator = step.operator
    if operator.name == "select":
        return select_typed if operator.immediates is Immediate.TYPES else select
    if operator.immediates in (Immediate.LANE, Immediate.LANES, Immediate.MEMARG_LANE):
        return lane
    return _BY_NAME.get(operator.name, atomic)


HANDLERS: Final[Mapping[int, Handler]] = {
    code: _handler(step) for code, step in STEPS.items() if not step.plain and code != LOCAL_GET
}
