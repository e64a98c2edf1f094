"""Sizes and durations: what is taken, what is refused with which words, and that nothing is lost on the way."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelock.core.units import MAX_U64, ByteSize, Duration, format_bytes, parse_unit

SIZES = {"B": 1, "kB": 1000, "KiB": 1024, "MB": 10**6, "MiB": 2**20, "GB": 10**9, "GiB": 2**30}
DURATIONS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0 B", 0),
        ("64 KiB", 65536),
        ("64KiB", 65536),
        ("  64   KiB ", 65536),
        ("1.5 MiB", 1_572_864),
        ("0.5 KiB", 512),
        ("1_000 kB", 1_000_000),
        ("4 GiB", 2**32),
    ],
)
def test_sizes(text: str, count: int) -> None:
    made = parse_unit(ByteSize, text)
    assert made == count
    assert type(made) is ByteSize


@pytest.mark.parametrize(
    ("text", "count"), [("5 ms", 5_000_000), ("1.5 us", 1500), ("2 µs", 2000), ("1 h", 3_600_000_000_000), ("7ns", 7)]
)
def test_durations(text: str, count: int) -> None:
    made = parse_unit(Duration, text)
    assert made == count
    assert type(made) is Duration


@pytest.mark.parametrize("text", ["", "KiB", "64", "-1 B", "1 kib", "1 XB", "1e3 B", "1. B", ".5 B", "٣ KiB", "1__0 B"])
def test_text_that_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match='is not a quantity; expected one such as "64 KiB"') as caught:
        parse_unit(ByteSize, text)
    assert str(caught.value).endswith("(units: B, KiB, MiB, GiB, kB, MB, GB)")


def test_a_size_is_no_duration() -> None:
    with pytest.raises(ValueError, match='"5 KiB" is not a quantity; expected one such as "5 ms"'):
        parse_unit(Duration, "5 KiB")


def test_a_part_of_a_byte_is_refused() -> None:
    with pytest.raises(ValueError, match=r'"0\.3 B" is not a whole number of the smallest unit'):
        parse_unit(ByteSize, "0.3 B")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (True, "true or false"),
        (1.5, "a float"),
        ([], "an array"),
        ({}, "a table"),
        (datetime.date(2026, 1, 1), "a date or time"),
    ],
)
def test_other_types_are_refused(value: object, found: str) -> None:
    with pytest.raises(ValueError, match=f'expected a whole number or text such as "64 KiB", found {found}'):
        parse_unit(ByteSize, value)


@pytest.mark.parametrize("value", [-1, MAX_U64 + 1, "17179869185 GiB", f"{MAX_U64 + 1} B"])
def test_out_of_range(value: object) -> None:
    with pytest.raises(ValueError, match=r"expected 0 to 2\^64 - 1"):
        parse_unit(ByteSize, value)


@given(st.integers(0, MAX_U64), st.sampled_from([ByteSize, Duration]))
def test_a_plain_number_is_itself(count: int, kind: type) -> None:
    assert parse_unit(kind, count) == count


@given(st.integers(0, 10**6), st.integers(0, 999), st.sampled_from(sorted(SIZES)))
def test_a_size_is_exact_or_refused(whole: int, thousandths: int, unit: str) -> None:
    scaled = (whole * 1000 + thousandths) * SIZES[unit]
    text = f"{whole}.{thousandths:03d} {unit}"
    if scaled % 1000:
        with pytest.raises(ValueError, match="smallest unit"):
            parse_unit(ByteSize, text)
    else:
        assert parse_unit(ByteSize, text) == scaled // 1000


@given(st.integers(0, 10**6), st.sampled_from(sorted(DURATIONS)))
def test_a_duration_is_exact(count: int, unit: str) -> None:
    assert parse_unit(Duration, f"{count} {unit}") == count * DURATIONS[unit]


@given(st.integers(0, 2**50))
def test_what_is_shown_is_close_to_what_is_meant(count: int) -> None:
    text = format_bytes(count)
    number, unit = text.split()
    assert float(number) * SIZES[unit] == pytest.approx(count, rel=1e-3)


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (65536, "64 KiB"), (3 << 19, "1.5 MiB")])
def test_shown_sizes(count: int, text: str) -> None:
    assert format_bytes(count) == text
