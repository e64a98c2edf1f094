"""An instance that runs: frames of calls, and the state that they share.

Rules: a call is a `Frame` on a list, never a call in Python, so that recursion needs no stack of Python's; a frame's
code is a list of steps, each a handler and its immediate; `pc` is the next step; a handler that pushed or popped a
frame answers True. All values are integers: bits, or a function's index for a reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from wavelock.core.errors import EnvironmentFailure, ModuleError
from wavelock.core.form.limits import MEMORY_PAGES, TABLE_ENTRIES
from wavelock.core.form.module import SegmentMode
from wavelock.wasm_engines.reference.memory import Memory
from wavelock.wasm_engines.reference.meter import Meter
from wavelock.wasm_engines.reference.tables import Table

if TYPE_CHECKING:
    from wavelock.wasm_engines.reference.program import Program

FRAMES: Final = 1 << 18
"""Calls within calls, for a module that bounds them not itself: those of the deterministic form do."""

Handler = Callable[["Frame", Any], bool | None]
"""Does one step with a frame and the step's immediate; True: another frame is on top now."""


@dataclass(frozen=True)
class Code:
    """A function, decoded."""

    steps: list[tuple[Handler, Any]]
    first_values: list[int]
    """Of the declared locals."""
    results: int
    weight: int
    """What a call of it weighs in the depth limit."""


class Frame:
    """A call that has not ended: its locals (parameters first), its operands, and where it is."""

    __slots__ = ("code", "locals", "machine", "pc", "stack")

    def __init__(self, machine: Machine, code: Code, arguments: list[int]) -> None:
        self.machine = machine
        self.code = code
        self.locals = arguments + code.first_values
        self.stack: list[int] = []
        self.pc = 0


class Machine:
    """An instance of a program. Making one copies the active segments, which can trap.

    memory_pages: the most that its memory may have. The start function is left to the caller.
    """

    def __init__(self, program: Program, memory_pages: int = MEMORY_PAGES, meter: Meter | None = None) -> None:
        module = program.module
        self.program = program
        self.meter = meter
        self.memory = _memory(program, memory_pages)
        self.globals = list(program.globals)
        self.tables = [Table(limits.minimum, _least(limits.maximum, TABLE_ENTRIES)) for limits in module.tables]
        self.data: list[bytes | None] = [segment.content for segment in program.data]
        self.elements: list[tuple[int, ...] | None] = [segment.entries for segment in program.elements]
        """Both: None once a segment was dropped."""
        self._frames: list[Frame] = []
        self._results: list[int] = []
        self._copy_segments()

    def _copy_segments(self) -> None:
        for index, segment in enumerate(self.program.elements):
            if segment.mode is SegmentMode.ACTIVE:
                table = self.tables[segment.table]
                table.write(segment.offset, segment.entries, 0, len(segment.entries))
            if segment.mode is not SegmentMode.PASSIVE:
                self.elements[index] = None
        for index, data in enumerate(self.program.data):
            if data.mode is SegmentMode.ACTIVE:
                self.memory.write(data.offset, data.content)
                self.data[index] = None

    def call(self, function: int, arguments: Iterable[int]) -> list[int]:
        """Calls a function by its index and answers its results. Raises Trap, and leaves the state as it is then."""
        self._frames.clear()
        self._results.clear()
        try:
            self.enter(function, list(arguments))
            self._run()
        except IndexError as error:
            raise ModuleError("an instruction names what is not there: the module is not valid") from error
        return self._results.copy()

    def enter(self, function: int, arguments: list[int]) -> None:
        """Begins a call."""
        code = self.program.code(function)
        if self.meter is not None:
            self.meter.enter(code.weight)
        if len(self._frames) >= FRAMES:
            raise EnvironmentFailure(f"the reference engine has no room for more than {FRAMES} calls within calls")
        self._frames.append(Frame(self, code, arguments))

    def leave(self) -> None:
        """Ends the call on top: its last operands are its results."""
        frame = self.unwind()
        caller = self._frames[-1].stack if self._frames else self._results
        caller.extend(frame.stack[len(frame.stack) - frame.code.results :])

    def unwind(self) -> Frame:
        """Takes the call on top off; answers it."""
        frame = self._frames.pop()
        if self.meter is not None:
            self.meter.leave(frame.code.weight)
        return frame

    def _run(self) -> None:
        """Runs until no frame is left."""
        frames = self._frames
        while frames:
            frame = frames[-1]
            steps = frame.code.steps
            while True:
                handler, immediate = steps[frame.pc]
                frame.pc += 1
                if handler(frame, immediate):
                    break


def _memory(program: Program, most_pages: int) -> Memory:
    """Also where the module has none: one of no pages, which nothing uses."""
    if not program.module.memories:
        return Memory(0, 0)
    limits = program.module.memories[0]
    if limits.minimum > most_pages:
        raise ModuleError(f"found a memory of {limits.minimum} pages, expected at most {most_pages}")
    return Memory(limits.minimum, _least(limits.maximum, most_pages))


def _least(maximum: int | None, bound: int) -> int:
    return bound if maximum is None else min(maximum, bound)
