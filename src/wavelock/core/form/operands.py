"""What handlers of both kinds share: indexes in range, and fuel handed over."""

from __future__ import annotations

from wavelock.core.form.binary import FormError
from wavelock.core.form.decode import Value
from wavelock.core.form.function import FunctionPass


def index_below(value: Value, count: int, what: str, offset: int) -> int:
    """An immediate that is an index, in range."""
    assert isinstance(value, int)
    if value >= count:
        raise FormError(offset, f"found the {what} index {value}, expected one below {count}")
    return value


def give_fuel(walk: FunctionPass, offset: int) -> None:
    """Before something that uses fuel by itself."""
    walk.meter.reach()
    walk.edits.insert(offset, walk.meter.store())
    walk.meter.called()
