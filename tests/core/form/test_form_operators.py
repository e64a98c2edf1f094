"""The table of operators against an assembler (opcodes) and an engine (types): wasmtime's."""

from __future__ import annotations

from itertools import pairwise

import pytest
import wasmtime

from wavelock.core.form.binary import FormError
from wavelock.core.form.decode import instructions
from wavelock.core.form.features import REFUSED
from wavelock.core.form.immediates import Immediate
from wavelock.core.form.operators import BY_CODE, PLAIN, PREFIXED, Operator
from wavelock.core.form.sections import read_module

TYPES = {"i": "i32", "I": "i64", "f": "f32", "F": "f64", "v": "v128"}
TEXT = {
    Immediate.NONE: "",
    Immediate.INDEX: "0",
    Immediate.MEMARG: "",
    Immediate.I32: "-2147483648",
    Immediate.I64: "-9223372036854775808",
    Immediate.F32: "nan:0x200001",
    Immediate.F64: "nan:0x4000000000001",
    Immediate.V128: "i64x2 -1 2",
    Immediate.LABELS: "0 0 0",
    Immediate.MEMORY: "",
    Immediate.MEMORY_PAIR: "",
    Immediate.SEGMENT_MEMORY: "0",
    Immediate.TYPES: "(result i64)",
    Immediate.HEAP: "func",
    Immediate.LANE: "1",
    Immediate.MEMARG_LANE: "offset=300 1",
    Immediate.LANES: " ".join(str(lane) for lane in range(16, 32)),
    Immediate.FENCE: "",
}
VALUES = {
    Immediate.I32: -(2**31),
    Immediate.I64: -(2**63),
    Immediate.F32: bytes.fromhex("0100a07f"),
    Immediate.F64: bytes.fromhex("010000000000f47f"),
    Immediate.V128: b"\xff" * 8 + b"\x02" + bytes(7),
    Immediate.LABELS: (0, 0, 0),
    Immediate.TYPES: (0x7E,),
    Immediate.HEAP: 0x70,
    Immediate.LANES: bytes(range(16, 32)),
}
CANDIDATES = ("", "0", "0 0", "(type 0)", "(ref 0)", "end", "0 (ref null 0) (ref 0)")
"""Immediates of refused operators: the first that assembles."""
LEGACY = {"try", "catch", "delegate", "catch_all"}
"""Operators of the first exceptions proposal, whose text form the assembler no longer knows."""
DELIMITERS = {"else", "end"}
PRELUDE = """(type (func)) (memory 1) (data "x") (table 1 funcref) (elem func 0)
  (elem declare func 0) (global (mut i32) (i32.const 0))"""


def assemble(code: str, params: str = "", results: str = "", prelude: str = PRELUDE) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(module {prelude} (func {params} {results} {code}))"))


def opcode(operator: Operator) -> bytes:
    prefix, number = operator.code >> 16, operator.code & 0xFFFF
    if not prefix:
        return bytes([number])
    return bytes([prefix, number]) if number < 0x80 else bytes([prefix, number & 0x7F | 0x80, number >> 7])


def body(data: bytes) -> bytes:
    module = read_module(data)
    return data[module.bodies[0].code : module.bodies[0].end]


def text(operator: Operator) -> str:
    if operator.immediates is Immediate.BLOCK:
        return f"{operator.name} end"
    if operator.immediates is Immediate.INDEX_PAIR:
        return f"{operator.name} {'0 0' if operator.name.startswith('table') else '(type 0)'}"
    name = f"{operator.name} {TEXT[operator.immediates]}"
    return name if operator.name != "table.init" else "table.init 0"


def assemble_refused(operator: Operator) -> bytes:
    name, null, _ = operator.name.partition("_null")
    if operator.name not in ("ref.test_null", "ref.cast_null"):
        name, null = operator.name, ""
    for candidate in ("(ref null 0)",) if null else CANDIDATES:
        try:
            return assemble(f"{name} {candidate}")
        except wasmtime.WasmtimeError:
            continue
    raise AssertionError(f"the assembler does not know {operator.name}")


ACCEPTED = [
    operator
    for operator in BY_CODE.values()
    if operator.immediates is not Immediate.UNREAD and operator.name not in DELIMITERS
]
UNREAD = [
    operator for operator in BY_CODE.values() if operator.immediates is Immediate.UNREAD and operator.name not in LEGACY
]
TYPED = [operator for operator in ACCEPTED if operator.signature]


def ids(operator: Operator) -> str:
    return operator.name


@pytest.mark.parametrize("operator", ACCEPTED, ids=ids)
def test_opcode_is_the_assemblers(operator: Operator) -> None:
    assert body(assemble(text(operator))).startswith(opcode(operator))


@pytest.mark.parametrize("operator", UNREAD, ids=ids)
def test_opcode_of_a_refused_operator_is_the_assemblers(operator: Operator) -> None:
    assert body(assemble_refused(operator)).startswith(opcode(operator))


@pytest.mark.parametrize("operator", UNREAD, ids=ids)
def test_a_refused_operator_is_named_at_its_offset(operator: Operator) -> None:
    data = assemble_refused(operator)
    found = read_module(data).bodies[0]
    with pytest.raises(FormError) as caught:
        list(instructions(data, found.code, found.end))
    assert caught.value.offset == found.code
    assert caught.value.what.startswith(f"{operator.name} needs {operator.feature}, which an agent cannot use")


@pytest.mark.parametrize("operator", [o for o in ACCEPTED if o.feature not in REFUSED], ids=ids)
def test_immediates_are_consumed_to_the_last_byte(operator: Operator) -> None:
    data = assemble(f"{text(operator)} nop")
    found = read_module(data).bodies[0]
    decoded = list(instructions(data, found.code, found.end))
    assert decoded[0][1] is operator
    assert [other.name for _, other, _ in decoded][-2:] == ["nop", "end"]
    assert decoded[-1][0] == found.end - 1
    if operator.immediates in VALUES:
        assert decoded[0][2] == VALUES[operator.immediates]


def typed_module(operator: Operator, results: str) -> bytes:
    takes = operator.signature.partition(":")[0]
    params = " ".join(f"(param {TYPES[letter]})" for letter in takes)
    operands = " ".join(f"local.get {index}" for index in range(len(takes)))
    shared = PRELUDE.replace("(memory 1)", "(memory 1 1 shared)")
    prelude = shared if operator.feature == "threads" else PRELUDE
    return assemble(f"{operands} {text(operator)}", params, results, prelude)


@pytest.fixture(scope="module")
def engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    config.wasm_threads = True
    config.shared_memory = True
    return wasmtime.Engine(config)


@pytest.mark.parametrize("operator", TYPED, ids=ids)
def test_signature_is_the_engines(operator: Operator, engine: wasmtime.Engine) -> None:
    gives = operator.signature.partition(":")[2]
    results = " ".join(f"(result {TYPES[letter]})" for letter in gives)
    wasmtime.Module.validate(engine, typed_module(operator, results))
    with pytest.raises(wasmtime.WasmtimeError):
        wasmtime.Module.validate(engine, typed_module(operator, f"{results} (result i32)"))


def unlisted() -> list[bytes]:
    plain = [bytes([code]) for code in range(256) if code not in PLAIN and code not in PREFIXED]
    prefixed = [
        opcode(Operator(prefix << 16 | number, "", Immediate.NONE, "", ""))
        for prefix, table in PREFIXED.items()
        for number in range(0x180)
        if number not in table
    ]
    return plain + prefixed


def test_what_the_table_lacks_the_engine_lacks(engine: wasmtime.Engine) -> None:
    head, _, tail = assemble("nop nop nop nop nop nop nop").partition(b"\x01" * 7)
    for code in unlisted():
        with pytest.raises(wasmtime.WasmtimeError) as caught:
            wasmtime.Module.validate(engine, head + code + b"\x01" * (7 - len(code)) + tail)
        lacking = ("illegal opcode", "unknown 0x", "not enabled", "requires", "support", "end-of-file")
        assert any(word in str(caught.value) for word in lacking), (code.hex(), str(caught.value))


def test_every_operator_has_its_own_name_but_the_two_selects() -> None:
    names = sorted(operator.name for operator in BY_CODE.values())
    assert [name for name, after in pairwise(names) if name == after] == ["select"]


def test_the_table_is_complete() -> None:
    count = {prefix: len(table) for prefix, table in PREFIXED.items()}
    assert count == {0xFB: 31, 0xFC: 23, 0xFD: 236 + 20, 0xFE: 67}
    accepted = [operator for operator in PLAIN.values() if operator.feature not in REFUSED]
    assert len(accepted) == 172 + 5 + 6
