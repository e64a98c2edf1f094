"""One function's body: its types are checked and its deterministic form is written, in one walk.

Rules:
- The checking is the specification's algorithm (appendix, "Validation Algorithm"): a stack of operand types, a stack of
  control frames, and operands of any type once the code of a frame is dead.
- The walk changes nothing but by `edits`; dead code is checked and left out.
- `meter` knows fuel and depth, `nans` knows NaNs, `handlers` has the operators whose signature does not say all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from wavelock.core.form import costs
from wavelock.core.form.additions import Additions
from wavelock.core.form.binary import FormError
from wavelock.core.form.decode import Value, instructions
from wavelock.core.form.edits import Edit, Edits
from wavelock.core.form.emit import declarations, sized, unsigned
from wavelock.core.form.meter import Meter
from wavelock.core.form.module import Module
from wavelock.core.form.nans import LANES_OF, Nans
from wavelock.core.form.steps import STEPS, Step
from wavelock.core.form.types import V128, VALUE_TYPES, FunctionType

I32, I64 = 0x7F, 0x7E
ANY: Final = 0
"""An operand of dead code, which stands for every type."""
LOCAL_GET: Final = 0x20
LOCAL_SET: Final = 0x21
LOOP: Final = 0x03
FUEL, DEPTH = -1, -2
"""Keys of the pass's own locals that are no scratch for a value type."""


class Frame:
    """A block that is open. height: operands below it; label: what a branch to it must bring."""

    __slots__ = (
        "branched",
        "code",
        "dead",
        "height",
        "hole",
        "inner",
        "label",
        "otherwise",
        "params",
        "results",
        "top",
    )

    def __init__(self, code: int, params: bytes, results: bytes, height: int, inner: bool) -> None:
        self.code = code
        self.params = params
        self.results = results
        self.height = height
        self.inner = inner
        """It is not the function's own."""
        self.label = params if code == LOOP else results
        self.dead = False
        self.branched = False
        """Something branches to its end."""
        self.otherwise = (False, False)
        """Of an `if`: where the fuel is when its condition does not hold."""
        self.hole: Edit | None = None
        """The edit that leaves out its dead code, where that is the outermost."""
        self.top = 0
        """The highest stack when that began."""


class FunctionPass:
    """The walk over one function of a module."""

    def __init__(self, module: Module, additions: Additions, index: int) -> None:
        self.module = module
        self.additions = additions
        self.index = index
        self.type = module.function_type(index)
        self.body = module.bodies[index]
        self.local_types = self.type.params + b"".join(bytes((code,)) * count for count, code in self.body.locals)
        self.steps: set[Step] = set()
        """Operators met, but for local.get."""
        self.more_features: set[str] = set()
        self.labels = 0
        """Of br_tables."""
        self.wide = V128 in self.local_types
        self.calls = False
        self.stack = bytearray()
        self.frames = [Frame(0, b"", self.type.results, 0, inner=False)]
        self.top = 0
        self.edits = Edits()
        self.returns: list[tuple[Edit, int]] = []
        self.tail_calls: list[Edit] = []
        self.taken: list[int] = []
        """Where in the body that was written, from its locals on, branches are that are nearly always taken."""
        self.number = self.was_number = False
        """The operand on top is known to be no NaN; the same before the operator that a handler is at."""
        self.after: Callable[[int], None] | None = None
        """What the next operator's offset is awaited for."""
        self._scratch: dict[int, int] = {}
        parameters = len(self.type.params)
        entry = (len(self.local_types) - parameters >> costs.LOCALS_SHIFT) * costs.PARTS
        self.meter = Meter(additions, self.edits, self.scratch(FUEL), entry)
        self.nans = Nans(self.edits, parameters, self.scratch)

    def scratch(self, key: int) -> int:
        """A local of the pass's own, one a value type (or FUEL, DEPTH)."""
        return self._scratch.setdefault(key, len(self.local_types) + len(self._scratch))

    # ---- the walk ----

    def run(self) -> bytes:
        """The body's deterministic form, with its size before it. Raises FormError."""
        from wavelock.core.form.handlers import HANDLERS

        stack, edits, meter, nans, seen = self.stack, self.edits, self.meter, self.nans, self.steps
        local_types, steps, may_be_nan = self.local_types, STEPS, LANES_OF
        has_memory = bool(self.module.memories)
        offset, height, top, cost = self.body.code, 0, 0, meter.cost
        self._entry = edits.insert(offset)
        meter.begin_function(offset)
        whole = instructions(self.module.data, self.body.code, self.body.end, self.additions.features)
        for offset, operator, value in whole:
            if self.after is not None:
                after, self.after = self.after, None
                after(offset)
            code = operator.code
            if code == LOCAL_GET:
                cost += 1
                if value >= len(local_types):  # type: ignore[operator]
                    raise self.no_local(offset, value)
                kind = local_types[value]  # type: ignore[index]
                stack.append(kind)
                if kind in may_be_nan:
                    self.after = self.read_local(value)  # type: ignore[arg-type]
                    self.number = False
            elif code == LOCAL_SET and self.is_plain_set(value, height):
                cost += 1
                del stack[-1]
            else:
                step = steps[code]
                seen.add(step)
                cost += step.cost
                if step.plain:
                    pops = step.pops
                    if step.alignment >= 0 and (value[0] > step.alignment or not has_memory):  # type: ignore[index]
                        raise self.bad_memarg(offset, step, value)
                    if pops:
                        if nans.open and nans.open[-1].height >= len(stack) - len(pops):
                            nans.consume(len(stack) - len(pops), step.hides)
                        if len(stack) - height >= len(pops) and stack.endswith(pops):
                            del stack[-len(pops) :]
                        else:
                            self.pop(pops, offset, step)
                    stack += step.pushes
                    self.number = step.number and not _is_nan(value)
                    if step.special and not edits.muted:
                        self._meet_special(step)
                else:
                    meter.cost, self.top = cost, top
                    self.was_number, self.number = self.number, False
                    HANDLERS[code](self, step, value, offset)
                    cost, top = meter.cost, self.top
                    height = self.frames[-1].height if self.frames else 0
            if len(stack) > top:  # noqa: PLR1730 - max() is a call for every operator
                top = len(stack)
        self.top = top
        if offset + 1 != self.body.end:
            left = self.body.end - offset - 1
            raise FormError(offset + 1, f"found {left} bytes after the `end` that closes the function, expected none")
        return self._written()

    def is_plain_set(self, value: Value, height: int) -> bool:
        """Whether a local.set puts an integer where it belongs: the common case, in which nothing else is to do."""
        stack, types = self.stack, self.local_types
        if len(stack) <= height or value >= len(types):  # type: ignore[operator]
            return False
        return stack[-1] == types[value] and stack[-1] not in LANES_OF  # type: ignore[index]

    def read_local(self, local: int) -> Callable[[int], None] | None:
        """What to do behind a read of a local that can hold a NaN."""
        if self.edits.muted:
            return None
        return lambda offset: self.nans.read(len(self.stack) - 1, offset, local)

    def _meet_special(self, step: Step) -> None:
        """A plain operator of live code that makes a NaN or has to do with vectors."""
        self.wide |= step.vector
        lanes = step.makes
        if lanes is not None:
            self.after = lambda offset: self.nans.made(len(self.stack) - 1, offset, lanes)

    # ---- types ----

    def pop(self, expected: bytes, offset: int, step: Step) -> None:
        """Takes operands off the stack, the last of `expected` first."""
        stack, frame = self.stack, self.frames[-1]
        if stack.endswith(expected) and len(stack) - frame.height >= len(expected):
            del stack[len(stack) - len(expected) :]
            return
        for code in reversed(expected):
            if len(stack) == frame.height:
                if frame.dead:
                    continue
                raise FormError(offset, f"{step.operator.name}: found no operand, expected {VALUE_TYPES[code]}")
            found = stack.pop()
            if found not in (code, ANY):
                what = f"found {VALUE_TYPES[found]}, expected {VALUE_TYPES[code]}"
                raise FormError(offset, f"{step.operator.name}: {what}")

    def pop_any(self, offset: int, step: Step) -> int:
        """Takes one operand, whatever its type; answers it."""
        stack, frame = self.stack, self.frames[-1]
        if len(stack) > frame.height:
            return stack.pop()
        if not frame.dead:
            raise FormError(offset, f"{step.operator.name}: found no operand, expected one")
        return ANY

    def push(self, codes: bytes) -> None:
        """Puts operands on the stack."""
        self.stack += codes
        self.wide |= V128 in codes and not self.edits.muted

    def type_of(self, index: int, offset: int) -> FunctionType:
        """A function type by its index."""
        if index >= len(self.module.types):
            raise FormError(offset, f"found the type index {index}, expected one below {len(self.module.types)}")
        return self.module.types[index]

    def label(self, depth: int, offset: int) -> Frame:
        """The frame that a branch names."""
        if depth >= len(self.frames):
            raise FormError(offset, f"found a branch to label {depth}, expected one below {len(self.frames)}")
        return self.frames[-1 - depth]

    def no_local(self, offset: int, value: Value) -> FormError:
        """The error for a local's index."""
        return FormError(offset, f"found the local index {value!s}, expected one below {len(self.local_types)}")

    def bad_memarg(self, offset: int, step: Step, value: Value) -> FormError:
        """The error for a load or store."""
        if not self.module.memories:
            return FormError(offset, f"{step.operator.name} without a memory")
        assert isinstance(value, tuple)
        found = f"found the alignment 2^{value[0]}, expected at most 2^{step.alignment}"
        return FormError(offset, f"{step.operator.name}: {found}")

    # ---- control ----

    def settle(self) -> None:
        """Whatever follows may see every operand."""
        self.nans.consume(0, None)

    def next_segment(self) -> None:
        """The operator at hand ends a segment; another begins behind it."""
        self.meter.end()
        self.after = self.begin_segment

    def begin_segment(self, offset: int) -> None:
        """A segment begins at `offset`."""
        self.meter.begin(offset, len(self.frames))

    def begin_loop(self, offset: int) -> None:
        """The first segment of a loop begins at `offset`."""
        self.meter.begin(offset, len(self.frames), check=True)

    def die(self) -> None:
        """The operator at hand ends a segment, and what follows it cannot be reached."""
        self.meter.end()
        frame = self.frames[-1]
        del self.stack[frame.height :]
        frame.dead = True
        if not self.edits.muted:
            frame.top = self.top
            self.after = self._leave_out

    def _leave_out(self, offset: int) -> None:
        frame = self.frames[-1]
        frame.hole = self.edits.insert(offset)
        self.edits.muted = True

    def revive(self, frame: Frame, offset: int) -> None:
        """At the `else` or `end` of a block: its code may have been dead, what follows is not."""
        if frame.hole is not None:
            frame.hole.resume, frame.hole = offset, None
            self.edits.muted = False
            self.top = frame.top
        frame.dead = False

    # ---- the whole ----

    def features(self) -> set[str]:
        """The features that the code needs, dead code included."""
        return {step.operator.feature for step in self.steps} | self.more_features

    @property
    def weight(self) -> int:
        """Bytes of the depth limit that a call of this function takes."""
        width = costs.WIDE_VALUE_BYTES if self.wide else costs.VALUE_BYTES
        code = (self.body.end - self.body.code) >> costs.CODE_SHIFT
        return costs.FRAME_BYTES + width * (len(self.local_types) + self.top) + code

    def _written(self) -> bytes:
        additions = self.additions
        self.nans.finish()
        before, epilogue = b"", b""
        if self.calls:
            local = self.scratch(DEPTH)
            before, epilogue = additions.enter(self.weight, local), additions.leave(local)
        elif self.weight > costs.LEAF_BYTES:
            before = additions.enter_leaf(self.weight)
        if self.calls and not self.meter.checked_entry:
            self._entry.code = additions.check_entry()
        framed = bool(self.meter.segments)
        for edit in self.tail_calls:
            edit.code = epilogue
        for edit, depth in self.returns:
            edit.code = b"\x0c" + unsigned(depth) if framed else b"\x0f"
        code, taken = self.edits.apply(self.module.data, self.body.code, self.body.end)
        head, tail = additions.frame(self.type.results, epilogue) if framed else (b"", b"")
        runs = [*self.body.locals, *((1, _OWN.get(key, key)) for key in self._scratch)]
        front = declarations(runs) + additions.probe(self.index) + before + head
        self.taken = [len(front) + place for place in taken]
        return sized(front + code + tail)


_OWN: Final = {FUEL: I64, DEPTH: I32}


def _is_nan(value: Value) -> bool:
    """Whether a float constant's bytes are a NaN of some lanes; integers are none."""
    if not isinstance(value, bytes):
        return False
    whole = int.from_bytes(value, "little")
    if len(value) == 16:
        return whole != 0  # too many readings to tell: only zero is surely a number
    exponent = 0x7F800000 if len(value) == 4 else 0x7FF0000000000000
    return whole & exponent == exponent


Handler = Callable[[FunctionPass, Step, Value, int], None]
"""What is done at an operator: the walk, the operator, its immediates, its offset."""
