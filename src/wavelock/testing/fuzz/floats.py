"""Random functions over floats and vectors, full of NaNs: for what the deterministic form knows of values and locals.

Random bytes decide everything, and where they end the simplest choice is made: fewer bytes give a smaller module.
"""

from __future__ import annotations

import re
from random import Random
from typing import Final

from wavelock.core.form import features as f
from wavelock.core.form.emit import BY_NAME, assemble, function_body, opcode, unsigned, vector
from wavelock.core.form.immediates import Immediate
from wavelock.core.form.operators import BY_CODE, Operator
from wavelock.testing.fuzz import draft as d
from wavelock.testing.fuzz.draft import Draft
from wavelock.testing.fuzz.recipe import Recipe
from wavelock.testing.fuzz.values import BITS, F32, F64, draw, seeded

CODES: Final = {"i": 0x7F, "I": 0x7E, "f": 0x7D, "F": 0x7C, "v": 0x7B}
_LENGTHS: Final = (40, 80, 160, 320)
_LOADS: Final = {"i": "i32.load", "I": "i64.load", "f": "f32.load", "F": "f64.load", "v": "v128.load"}
_FLOATS: Final = "fFv"
_TYPES: Final = {"all": "fFvffFFvvi", "scalar": "fFfFffFFFi", "f32": "ffffi", "f64": "FFFFi", "v128": "vvvvi"}
"""Types to choose from, mostly those that can hold a NaN: with fewer of them more happens to each local."""
_SPARE_LOCALS: Final = 600
"""Some functions have so many more, for a weight that counts although they call nothing."""
_FEATURES: Final = (f.MVP, f.SIGN_EXTENSION, f.SATURATING_CONVERSION, f.SIMD)
_MAKES_NAN: Final = re.compile(
    r"f(32|64)(x\d)?\.(add|sub|mul|div|sqrt|min|max|ceil|floor|trunc|nearest|demote|promote)"
)
_TRAPS: Final = re.compile(r"i(32|64)\.(div|rem|trunc_f)")
_INPUTS: Final = 64
"""Values of 16 bytes at the beginning of the memory; results go behind them."""
_NANS32: Final = [bits for bits in F32 if bits & 0x7FFFFFFF > 0x7F800000]
_NANS64: Final = [bits for bits in F64 if bits & 0x7FFFFFFFFFFFFFFF > 0x7FF0000000000000]
_DEPTH: Final = 5
_LOOPS: Final = 3
_CALLEES: Final = 6


def _by_result() -> dict[str, list[Operator]]:
    found: dict[str, list[Operator]] = {letter: [] for letter in CODES}
    for operator in BY_CODE.values():
        operands, _, result = operator.signature.partition(":")
        plain = operator.immediates in (Immediate.NONE, Immediate.LANE) and operator.feature in _FEATURES
        if plain and operands and result and not _TRAPS.match(operator.name):
            found[result] += [operator] * _weight(operator)
    return found


def _weight(operator: Operator) -> int:
    """A choice among hundreds of operators on integers would hardly ever be one on floats, or one that makes NaNs."""
    if _MAKES_NAN.match(operator.name):
        return 12
    return 4 if re.search(r"f(32|64)", operator.name) else 1


_OPERATORS: Final = _by_result()


class FloatModules:
    """Makes such modules: see `recipe.Maker`."""

    def recipe(self, random: Random) -> Recipe:
        """Random bytes, and the types to choose from."""
        types = random.choice((*_TYPES, "all", "scalar"))
        return Recipe(random.randbytes(random.choice(_LENGTHS)), (types,))

    def make(self, wanted: Recipe) -> bytes:
        """The module of a recipe."""
        choices = _Bytes(wanted.content)
        letters = _TYPES[wanted.options[0]]
        signatures = _signatures(choices, letters)
        share = max(8, len(wanted.content) // len(signatures))
        result = Draft()
        for at, (params, results) in enumerate(signatures):
            kinds = (vector(len(each), bytes(CODES[letter] for letter in each)) for each in (params, results))
            result.add(d.TYPES, b"\x60" + b"".join(kinds))
            result.add(d.FUNCTIONS, unsigned(at))
            own = _Bytes(wanted.content[at * share : (at + 1) * share])
            result.add(d.CODE, _Function(own, letters, signatures, at).body())
        result.sections[d.MEMORIES] = b"\x01\x00\x01"
        values = seeded(f"floats {choices.below(256)}")
        content = b"".join(_input(values) for _ in range(_INPUTS))
        result.add(d.DATA, b"\x00" + assemble("i32.const 0 end") + vector(len(content), content))
        return result.written()

    def close(self) -> None:
        """See `recipe.Maker`."""


def _signatures(choices: _Bytes, letters: str) -> list[tuple[str, str]]:
    """Parameters and result of each function; one calls only those that follow it. The first has neither."""
    found = [("", "")]
    for _ in range(choices.below(_CALLEES)):
        params = "".join(choices.of(letters) for _ in range(choices.below(4)))
        found.append((params, choices.of(letters)))
    return found


def _input(random: Random) -> bytes:
    """A value for the inputs: special floats in lanes of 32 or of 64 bits, half of them NaNs."""
    bits, known, nans = random.choice(((32, F32, _NANS32), (64, F64, _NANS64)))
    lanes = (random.choice(known if random.random() < 0.5 else nans) for _ in range(128 // bits))
    return b"".join(lane.to_bytes(bits // 8, "little") for lane in lanes)


class _Bytes:
    """Choices from bytes; zeros behind their end."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    @property
    def left(self) -> bool:
        return self._at < len(self._content)

    def below(self, bound: int) -> int:
        """Less than a bound, which is far below 65,536."""
        if not self.left:
            return 0
        width = 1 if bound <= 256 else 2
        found = int.from_bytes(self._content[self._at : self._at + width], "little")
        self._at += width
        return found % bound

    def of(self, letters: str) -> str:
        return letters[self.below(len(letters))]


class _Function:
    """Writes one function: statements for as long as there are bytes, then its result."""

    def __init__(self, choices: _Bytes, letters: str, signatures: list[tuple[str, str]], index: int) -> None:
        self._choices = choices
        self._letters = letters
        self._callees = [(at, *signatures[at]) for at in range(index + 1, len(signatures))]
        params, self._result = signatures[index]
        own = "".join(dict.fromkeys(letters)) + "".join(choices.of(letters) for _ in range(choices.below(5)))
        self._locals = params + own
        self._declared = own
        self._spare = _SPARE_LOCALS if choices.below(12) == 11 else 0
        self._sparing = choices.below(2) == 1
        """Only the first local of a type gets what is loaded; the others get what operators make, and copies."""
        self._counters = 0
        self._results_at = _INPUTS * 16
        self._open = 0

    def body(self) -> bytes:
        """The body with its size."""
        code = b""
        while self._choices.left:
            code += self._statement(_DEPTH)
        for at, letter in enumerate(self._locals):
            code += self._stored(letter, assemble(f"local.get {at}"))
        code += self._value(self._result, 2) if self._result else b""
        runs = [(1, CODES[letter]) for letter in self._declared] + [(1, CODES["i"])] * self._counters
        runs += [(self._spare, CODES["F"])] if self._spare else []
        return function_body(runs, code + b"\x0b")

    # ---- statements ----

    def _statement(self, depth: int) -> bytes:
        kind = self._choices.below(10)
        if kind < 5 or depth <= 0:
            return self._set(depth)
        if kind < 7:
            letter = self._choices.of(self._letters)
            return self._stored(letter, self._value(letter, depth))
        if kind == 7:
            inside = self._statement(depth - 2) + self._statement(depth - 2)
            return self._value("i", 1) + b"\x04\x40" + inside + b"\x05" + self._statement(depth - 2) + b"\x0b"
        if kind == 8 or not self._callees:
            return self._loop(depth)
        at, params, result = self._callees[self._choices.below(len(self._callees))]
        return self._stored(result, self._called(at, params, 2))

    def _set(self, depth: int) -> bytes:
        """Puts a value into a local: often a plain one, as what goes from local to local is what the form follows."""
        letter = self._choices.of(self._letters)
        local, simple = self._local(letter), self._choices.below(4)
        if simple == 0:
            value = assemble(f"local.get {self._local(letter)}")
        elif simple == 1:
            value = self._loaded(letter)
            local = self._locals.index(letter) if self._sparing else local
        elif self._sparing:
            value = self._operation(letter, 1 + self._choices.below(3))
        else:
            value = self._value(letter, min(depth, 1 + self._choices.below(_DEPTH)))
        return value + assemble(f"local.set {local}")

    def _loop(self, depth: int) -> bytes:
        counter = len(self._locals) + self._counters
        self._counters += 1
        inside = self._statement(depth - 2) + self._statement(depth - 2)
        again = f"local.get {counter} i32.const 1 i32.add local.tee {counter} i32.const {_LOOPS} i32.lt_u br_if 0 end"
        return assemble(f"i32.const 0 local.set {counter} loop void") + inside + assemble(again)

    def _stored(self, letter: str, value: bytes) -> bytes:
        at, self._results_at = self._results_at, self._results_at + 16
        return assemble("i32.const 0") + value + assemble(f"{_LOADS[letter].replace('load', 'store')} 0 {at}")

    # ---- values ----

    def _local(self, letter: str) -> int:
        found = [at for at, each in enumerate(self._locals) if each == letter]
        return found[self._choices.below(len(found))] if found else -1

    def _value(self, letter: str, depth: int) -> bytes:
        kind = self._choices.below(16)
        if depth <= 0 or not self._choices.left or kind < 4:
            return self._leaf(letter)
        if kind < 10 or letter not in self._letters:
            return self._operation(letter, depth)
        if kind == 10:
            return self._value(letter, depth - 1) + assemble(f"local.tee {self._local(letter)}")
        if kind == 11:
            both = self._value(letter, depth - 1) + self._value(letter, depth - 1)
            return both + self._value("i", 1) + b"\x1b"
        if kind == 12:
            branches = self._value(letter, depth - 1) + b"\x05" + self._value(letter, depth - 1)
            return self._value("i", 1) + bytes((0x04, CODES[letter])) + branches + b"\x0b"
        if kind == 13:
            early = self._value(letter, depth - 1) + self._value("i", 1) + b"\x0d\x00\x1a"
            return bytes((0x02, CODES[letter])) + early + self._value(letter, depth - 1) + b"\x0b"
        return self._call(letter, depth)

    def _leaf(self, letter: str) -> bytes:
        kind, local = self._choices.below(4), self._local(letter)
        if kind < 2 and local >= 0:
            return assemble(f"local.get {local}")
        if kind == 2 and letter in _FLOATS:
            value = draw(seeded(f"constant {self._choices.below(256)}"), letter)
            constant = {"f": "f32.const", "F": "f64.const", "v": "v128.const"}[letter]
            return opcode(BY_NAME[constant]) + value.to_bytes(BITS[letter] // 8, "little")
        return self._loaded(letter)

    def _loaded(self, letter: str) -> bytes:
        return assemble(f"i32.const {16 * self._choices.below(_INPUTS)} {_LOADS[letter]} 0 0")

    def _operation(self, letter: str, depth: int) -> bytes:
        found = [each for each in _OPERATORS[letter] if "v" in self._letters or "v" not in each.signature]
        chosen = found[self._choices.below(len(found))]
        operands = b"".join(self._value(each, depth - 1) for each in chosen.signature.partition(":")[0])
        return operands + opcode(chosen) + self._lane(chosen)

    def _lane(self, operator: Operator) -> bytes:
        if operator.immediates is not Immediate.LANE:
            return b""
        return bytes((self._choices.below(int(operator.name.partition(".")[0].partition("x")[2])),))

    def _call(self, letter: str, depth: int) -> bytes:
        found = [(at, params) for at, params, result in self._callees if result == letter]
        if not found:
            return self._leaf(letter)
        at, params = found[self._choices.below(len(found))]
        return self._called(at, params, depth - 2)

    def _called(self, function: int, params: str, depth: int) -> bytes:
        return b"".join(self._value(each, depth) for each in params) + assemble(f"call {function}")
