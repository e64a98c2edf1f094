"""Decodes a function into steps: branches become jumps, blocks vanish, and code that is dead is left out.

Operands are counted as a validator counts them, not typed: the module is valid, and a branch needs their number, as
the depth limit does. Where they do not add up, or an index names nothing, the module is not valid after all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from wavelock.core.form import costs
from wavelock.core.form.binary import FormError
from wavelock.core.form.decode import NO_BLOCK_TYPE, Value, instructions
from wavelock.core.form.module import Module
from wavelock.core.form.operators import Operator
from wavelock.core.form.types import FUNCREF, V128, FunctionType
from wavelock.wasm_engines.reference import control
from wavelock.wasm_engines.reference.control import Callee, IndirectCallee, Label
from wavelock.wasm_engines.reference.machine import Code, Handler
from wavelock.wasm_engines.reference.meter import OPERAND_COSTS, Segment, entry_cost, frame_weight, leaf_weight
from wavelock.wasm_engines.reference.plain import plain_step
from wavelock.wasm_engines.reference.tables import NULL

_OPERANDS: Final = {
    "drop": (1, 0),
    "select": (3, 1),
    "local.get": (0, 1),
    "local.set": (1, 0),
    "local.tee": (1, 1),
    "global.get": (0, 1),
    "global.set": (1, 0),
    "table.get": (1, 1),
    "table.set": (2, 0),
    "table.grow": (2, 1),
    "table.fill": (3, 0),
    "ref.null": (0, 1),
    "ref.is_null": (1, 1),
    "ref.func": (0, 1),
}
"""Operands and results of plain operators that have no signature."""
_BLOCKS: Final = ("block", "loop", "if")
_WITHOUT_STEP: Final = ("nop", "atomic.fence")


def decode(module: Module, function: int, features: frozenset[str], *, metered: bool) -> Code:
    """The code of a function. Raises FormError (a ModuleError) for what is found to be invalid."""
    try:
        return _Decoder(module, function, metered).decode(features)
    except FormError as error:
        raise FormError(error.offset, error.what, function) from None


class _Decoder:
    def __init__(self, module: Module, function: int, metered: bool) -> None:
        self._module = module
        self._metered = metered
        self._body = module.bodies[function]
        self._type = module.function_type(function)
        self._locals = [code for count, code in self._body.locals for _ in range(count)]
        self._wide = V128 in (*self._type.params, *self._type.results, *self._locals)
        self._calls = False
        self._steps: list[tuple[Handler, Any]] = []
        self._labels: list[Label] = []
        self._height = self._highest = 0
        self._dead = False
        self._skipped = 0
        """Blocks that are open within dead code."""
        self._segment = Segment()
        self._offset = self._body.code

    def decode(self, features: frozenset[str]) -> Code:
        self._labels.append(Label("function", 0, 0, len(self._type.results)))
        self._begin_segment(entry_cost(len(self._locals)))
        first = self._segment
        for offset, operator, value in instructions(self._module.data, self._body.code, self._body.end, features):
            self._offset = offset
            if not self._dead:
                self._live(operator, value)
            elif operator.name in ("else", "end") and not self._skipped:
                self._close(operator.name)
            else:
                self._skipped += (operator.name in _BLOCKS) - (operator.name == "end")
        first.checks = first.cost > 0 or self._calls
        zeros = [NULL if code == FUNCREF else 0 for code in self._locals]
        return Code(self._steps, zeros, len(self._type.results), self._weight())

    def _weight(self) -> int:
        values = len(self._type.params) + len(self._locals) + self._highest
        weight = frame_weight(values, self._body.end - self._body.code, wide=self._wide)
        return weight if self._calls else leaf_weight(weight)

    def _live(self, operator: Operator, value: Value) -> None:
        self._segment.parts += costs.cost(operator)
        name = operator.name
        if name in _BLOCKS:
            self._open(name, value)
        elif name in ("else", "end"):
            self._close(name)
        elif name in _CONTROL:
            _CONTROL[name](self, value)
        elif name not in _WITHOUT_STEP:
            self._plain(operator, value)

    def _plain(self, operator: Operator, value: Value) -> None:
        if operator.signature:
            operands, _, results = operator.signature.partition(":")
            self._wide |= "v" in operator.signature
            self._use(len(operands), len(results))
        else:
            self._use(*_OPERANDS[operator.name])
            if operator.name == "global.get" and isinstance(value, int):
                self._wide |= self._module.globals[value].value_type == V128
        if self._metered and operator.name in OPERAND_COSTS:
            self._add(control.charge_operand, OPERAND_COSTS[operator.name])
        self._add(*plain_step(operator, value))

    def _open(self, name: str, value: Value) -> None:
        found = self._block_type(value)
        parameters = len(found.params)
        self._use((name == "if") + parameters, parameters)
        label = Label(name, self._height - parameters, parameters, len(found.results))
        self._wide |= V128 in found.params + found.results
        self._labels.append(label)
        if name == "if":
            self._add(control.enter_if, label)
        if name == "loop":
            label.target = len(self._steps)
        if name != "block":
            self._begin_segment(checks=name == "loop")

    def _block_type(self, value: Value) -> FunctionType:
        assert isinstance(value, int)
        if value >= 0:
            return self._module.types[value]
        return FunctionType(b"", b"" if value == NO_BLOCK_TYPE else bytes((value + 128,)))

    def _close(self, name: str) -> None:
        label = self._labels[-1]
        if not self._dead and self._height != label.height + label.results:
            self._fail(f"found {self._height - label.height} operands at an {name}, expected {label.results}")
        if name == "else":
            self._switch(label)
        else:
            self._end(label)
        self._dead = False

    def _switch(self, label: Label) -> None:
        """An else: what comes before it goes on behind the end."""
        if label.kind != "if":
            self._fail("found an else without an if")
        label.kind = "else"
        if not self._dead:
            self._add(control.skip_else, label)
        label.otherwise = len(self._steps)
        self._height = label.height + label.parameters
        self._begin_segment()

    def _end(self, label: Label) -> None:
        self._labels.pop()
        self._height = label.height
        self._use(0, label.results)
        if label.kind == "if":
            label.otherwise = len(self._steps)
        if label.kind != "loop":
            label.target = len(self._steps)
        if label.kind == "function":
            self._add(control.leave, None)
        else:
            self._begin_segment()

    def _label(self, depth: int) -> Label:
        if depth >= len(self._labels):
            self._fail(f"found the label {depth}, expected one below {len(self._labels)}")
        return self._labels[-1 - depth]

    def _br(self, value: Value) -> None:
        label = self._branch_to(value, 0)
        self._add(control.branch, label)
        self._dead = True

    def _br_if(self, value: Value) -> None:
        self._add(control.branch_if, self._branch_to(value, 1))
        self._begin_segment()

    def _branch_to(self, value: Value, conditions: int) -> Label:
        assert isinstance(value, int)
        label = self._label(value)
        self._use(conditions + label.arity, label.arity)
        return label

    def _br_table(self, value: Value) -> None:
        assert isinstance(value, tuple)
        labels = tuple(self._label(depth) for depth in value)
        if any(label.arity != labels[-1].arity for label in labels):
            self._fail("found labels of unequal arity in a br_table")
        self._use(1 + labels[-1].arity, 0)
        self._add(control.branch_table, labels)
        self._dead = True

    def _return(self, _: Value) -> None:
        self._use(len(self._type.results), 0)
        self._add(control.leave, None)
        self._dead = True

    def _unreachable(self, _: Value) -> None:
        self._add(control.unreachable, None)
        self._dead = True

    def _call(self, value: Value) -> None:
        self._add(control.call, self._callee(value))

    def _return_call(self, value: Value) -> None:
        self._add(control.return_call, self._callee(value))
        self._dead = True

    def _callee(self, value: Value) -> Callee:
        assert isinstance(value, int)
        found = self._module.function_type(value)
        self._use_call(found, 0)
        return Callee(value, len(found.params))

    def _call_indirect(self, value: Value) -> None:
        self._add(control.call_indirect, self._indirect_callee(value))

    def _return_call_indirect(self, value: Value) -> None:
        self._add(control.return_call_indirect, self._indirect_callee(value))
        self._dead = True

    def _indirect_callee(self, value: Value) -> IndirectCallee:
        assert isinstance(value, tuple)
        index, table = value
        found = self._module.types[index]
        self._use_call(found, 1)
        return IndirectCallee(table, found)

    def _use_call(self, callee: FunctionType, indexes: int) -> None:
        self._use(indexes + len(callee.params), len(callee.results))
        self._wide |= V128 in callee.results
        self._calls = True

    def _add(self, handler: Handler, immediate: Any) -> None:
        self._steps.append((handler, immediate))

    def _begin_segment(self, units: int = 0, *, checks: bool = False) -> None:
        """What costs from here on belongs to a segment of its own."""
        self._segment = Segment(units, checks=checks)
        if self._metered:
            self._add(control.charge, self._segment)

    def _use(self, operands: int, results: int) -> None:
        """An instruction takes operands and leaves results."""
        bottom = self._labels[-1].height if self._labels else 0
        if self._height - operands < bottom:
            self._fail(f"found {self._height - bottom} operands, expected {operands}")
        self._height += results - operands
        self._highest = max(self._highest, self._height)

    def _fail(self, what: str) -> NoReturn:
        raise FormError(self._offset, f"{what}: the module is not valid")


_CONTROL: Final[Mapping[str, Callable[[_Decoder, Value], None]]] = {
    "br": _Decoder._br,
    "br_if": _Decoder._br_if,
    "br_table": _Decoder._br_table,
    "return": _Decoder._return,
    "unreachable": _Decoder._unreachable,
    "call": _Decoder._call,
    "call_indirect": _Decoder._call_indirect,
    "return_call": _Decoder._return_call,
    "return_call_indirect": _Decoder._return_call_indirect,
}
"""Operators of control flow that open and close no block."""
