"""Hostile shapes: four times as large takes about four times as long, and what is accepted is valid."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from core.form.running import rewrite, valid
from wavelock.core.errors import ModuleError
from wavelock.core.form import FormOptions, limits
from wavelock.core.form.emit import assemble, function_body, section, unsigned, vector
from wavelock.core.form.sniff import MAGIC, VERSION

I32, F64, V128 = 0x7F, 0x7C, 0x7B
NOTHING = b"\x60\0\0"


def module(
    bodies: list[bytes], types: list[bytes] | None = None, functions: list[int] | None = None, **more: bytes
) -> bytes:
    """A module of functions, by default of no parameters and results. more: other sections, `s5=...`."""
    types = types or [NOTHING]
    functions = functions or [0] * len(bodies)
    parts = {
        1: vector(len(types), *types),
        3: vector(len(functions), *(unsigned(index) for index in functions)),
        **{int(key[1:]): content for key, content in more.items()},
        10: vector(len(bodies), *bodies),
    }
    order = (1, 3, 4, 5, 6, 7, 9, 12, 10, 11)
    return MAGIC + VERSION + b"".join(section(code, parts[code]) for code in order if code in parts)


def code(body: bytes, *locals_: tuple[int, int]) -> bytes:
    return function_body(locals_, body + b"\x0b")


def straight(size: int) -> bytes:
    return module([code(assemble("i32.const 300 i32.const 5 i32.const 6 i32.add i32.store 2 0") * size)], s5=b"\1\0\1")


def copies(size: int) -> bytes:
    """A chain of locals, each the copy of the one before, the first fed by arithmetic and the last first."""
    one = assemble("f64.const ONE f64.const ONE f64.div local.set 0", {"ONE": bytes(8)})
    text = b"".join(b"\x20" + unsigned(at) + b"\x21" + unsigned(at + 1) for at in reversed(range(size)))
    return module([code(one + text, (size + 1, F64))])


def mixed_copies(size: int) -> bytes:
    """The other way round, where the first local is mixed: what is bad spreads to all."""
    mixed = "v128.const ONE v128.const ONE {}.div local.set 0"
    first = assemble(f"{mixed.format('f32x4')} {mixed.format('f64x2')}", {"ONE": bytes(16)})
    text = b"".join(b"\x20" + unsigned(at) + b"\x21" + unsigned(at + 1) for at in range(size))
    return module([code(first + text, (size + 1, V128))])


def nested(size: int) -> bytes:
    return module([code((b"\x02\x40" * size + b"\x41\0\x0d\0" + b"\x0b" * size) * 4)])


def nested_ifs(size: int) -> bytes:
    return module([code(b"\x41\0\x04\x40" * size + b"\x05\x0b" * size)])


def loops(size: int) -> bytes:
    return module([code(b"\x03\x40\x41\0\x0d\0\x0b" * size)])


def one_table(size: int) -> bytes:
    """A br_table to nested blocks, over a high stack."""
    labels = vector(size, *(unsigned(at) for at in range(size + 1)))
    return module(
        [
            code(
                b"\x41\0" * size * 20
                + b"\x02\x40" * size
                + b"\x41\0\x0e"
                + labels
                + b"\x0b" * size
                + b"\x1a" * size * 20
            )
        ]
    )


def functions(size: int) -> bytes:
    return module([code(b"\x10\0")] * size)


def wide_calls(size: int) -> bytes:
    """Calls that take and give a hundred values."""
    types = [NOTHING, b"\x60" + (unsigned(100) + bytes((I32,)) * 100) * 2]
    return module([code(b"\x41\0" * 100 + b"\x10\1" * size + b"\x1a" * 100), code(b"\0")], types, [0, 1])


def dropped(size: int) -> bytes:
    drops = b"".join(b"\xfc\x09" + unsigned(at) for at in range(size))
    return module([code(drops)], s5=b"\1\0\1", s12=unsigned(size), s11=vector(size, *[b"\1\0"] * size))


def in_tables(size: int) -> bytes:
    """Functions of as many types in a table that changes."""
    types = []
    for at in range(size):
        params, results = bytes((I32 - at % 4, I32 - at // 4 % 4, V128)), bytes((I32,)) * (at // 16)
        types.append(b"\x60" + vector(len(params), params) + vector(len(results), results))
    change = code(assemble("i32.const 0 ref.null table.set 0"))
    bodies = [code(b"\0")] * size + [change]
    elements = vector(1, b"\1\0" + vector(size, *(unsigned(at) for at in range(size))))
    return module(bodies, [*types, NOTHING], [*range(size), size], s4=b"\1\x70\0\1", s9=elements)


def mutable_globals(size: int) -> bytes:
    return module([code(b"\x01")], s6=vector(size, *[b"\x7b\1\xfd\x0c" + bytes(16) + b"\x0b"] * size))


def dead(size: int) -> bytes:
    return module([code(b"\0" + b"\x02\x40\x0c\0\x0b\x41\0\x04\x40\x05\x0b" * size)])


SHAPES: list[tuple[Callable[[int], bytes], int]] = [
    (straight, 6_000), (copies, 12_000), (mixed_copies, 12_000), (nested, 2_400), (nested_ifs, 2_400), (loops, 4_000),
    (one_table, 1_200), (functions, 1_500), (wide_calls, 600), (dropped, 2_500), (in_tables, 400),
    (mutable_globals, 1_000), (dead, 8_000),
]  # fmt: skip


def seconds(data: bytes) -> float:
    """CPU time, the least of two."""
    times = []
    for _ in range(2):
        before = time.process_time()
        rewrite(data)
        times.append(time.process_time() - before)
    return min(times)


@pytest.mark.parametrize(("shape", "most"), SHAPES, ids=lambda value: getattr(value, "__name__", ""))
def test_the_time_is_linear(shape: Callable[[int], bytes], most: int) -> None:
    """Four times the size may take at most about four times as long; quadratic work would take sixteen."""
    small, large = shape(most // 4), shape(most)
    assert valid(rewrite(large).module)
    # Other work on the machine only ever adds time, so one round in which the bound holds shows that it does.
    assert any(seconds(large) < 9 * seconds(small) + 0.05 for _ in range(10))


def test_the_most_locals() -> None:
    most = limits.LOCALS - limits.ADDED_LOCALS
    for count in (most, most + 1, most - 8, limits.LOCALS + 1):
        for body in (b"", b"\x03\x40\x0c\0\x0b\x10\0", assemble("local.get 0 local.get 0 f64.div local.set 1")):
            data = module([code(body, (count, F64))])
            try:
                form = rewrite(data, FormOptions(stack_bytes=1 << 24)).module
            except ModuleError as error:
                assert count > most, error
            else:
                assert count <= most
                assert valid(form)
