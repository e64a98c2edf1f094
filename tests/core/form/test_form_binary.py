"""LEB128, names and the reader's bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelock.core.errors import ModuleError
from wavelock.core.form import limits
from wavelock.core.form.binary import FormError, Reader, read_signed, read_u32, read_unsigned, shown

U32 = st.integers(0, 2**32 - 1)
WIDTHS = st.sampled_from([32, 33, 64])


def unsigned(value: int, padding: int = 0) -> bytes:
    """LEB128, with `padding` needless bytes, which the format allows within a type's length."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    if padding:
        out[-1] |= 0x80
        out += b"\x80" * (padding - 1) + b"\0"
    return bytes(out)


def signed(value: int) -> bytes:
    out = bytearray()
    while not -64 <= value < 64:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)


@given(U32, st.binary(max_size=3), st.binary(max_size=3))
def test_unsigned_round_trip_at_any_offset(value: int, before: bytes, after: bytes) -> None:
    encoded = unsigned(value)
    assert read_u32(before + encoded + after, len(before)) == (value, len(before) + len(encoded))


@given(WIDTHS, st.data())
def test_signed_round_trip(bits: int, data: st.DataObject) -> None:
    value = data.draw(st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
    encoded = signed(value)
    assert read_signed(encoded, 0, bits) == (value, len(encoded))


@given(st.integers(0, 127), st.integers(1, 4))
def test_needless_bytes_are_allowed_up_to_the_length_of_the_type(value: int, padding: int) -> None:
    assert read_u32(unsigned(value, padding), 0) == (value, padding + 1)


@given(WIDTHS, st.data())
def test_values_beyond_the_type_are_refused(bits: int, data: st.DataObject) -> None:
    groups = (bits + 6) // 7
    top = 2 ** (7 * groups)
    with pytest.raises(FormError, match="offset 0"):
        read_unsigned(unsigned(data.draw(st.integers(2**bits, top - 1))), 0, bits)
    low = data.draw(st.integers(-top // 2, -(2 ** (bits - 1)) - 1))
    with pytest.raises(FormError, match="offset 0"):
        read_signed(signed(low), 0, bits)


@given(st.binary(min_size=1, max_size=12), WIDTHS)
def test_reading_any_bytes_ends_in_a_value_or_a_known_error(data: bytes, bits: int) -> None:
    for read in (read_unsigned, read_signed):
        try:
            value, after = read(data, 0, bits)
        except (FormError, IndexError):
            continue
        assert -(2 ** (bits - 1)) <= value < 2**bits
        assert 1 <= after <= (bits + 6) // 7


@pytest.mark.parametrize(
    ("encoded", "what"),
    [
        (b"\x80\x80\x80\x80\x80\x00", "more than 5 bytes"),
        (b"\xff\xff\xff\xff\x1f", "bits beyond its type"),
        (b"\xff\xff\xff\xff\xff", "more than 5 bytes"),
    ],
)
def test_u32_is_strict(encoded: bytes, what: str) -> None:
    with pytest.raises(FormError, match=what):
        read_u32(encoded, 0)


def test_the_largest_values() -> None:
    assert read_u32(b"\xff\xff\xff\xff\x0f", 0) == (2**32 - 1, 5)
    assert read_signed(b"\x80\x80\x80\x80\x78", 0, 32) == (-(2**31), 5)
    assert read_signed(b"\xff" * 9 + b"\x00", 0, 64) == (2**63 - 1, 10)
    with pytest.raises(FormError):
        read_signed(b"\xff" * 9 + b"\x01", 0, 64)


def test_a_reader_stays_within_its_part() -> None:
    reader = Reader(b"\x01\x02\x03\x04", 0, 2, "the part")
    assert (reader.byte(), reader.left) == (1, 1)
    with pytest.raises(FormError, match=r"offset 1 \(0x1\): the part ends at offset 2"):
        reader.raw(2)
    with pytest.raises(FormError, match="1 bytes more in the part"):
        reader.finish()
    assert reader.u32() == 2
    for read in (reader.byte, reader.u32, reader.name):
        with pytest.raises(FormError, match="the part ends"):
            read()


def test_an_integer_may_not_cross_the_end_of_its_part() -> None:
    with pytest.raises(FormError, match="the part ends at offset 1"):
        Reader(b"\x80\x01", 0, 1, "the part").u32()
    with pytest.raises(FormError, match="the part ends at offset 1"):
        Reader(b"\x80", 0, 1, "the part").u32()


def test_a_count_is_bounded_before_anything_grows() -> None:
    with pytest.raises(FormError, match="found 5 things in the part, expected at most 4"):
        Reader(b"\x05" + bytes(9), 0, 10, "the part").count("things", 4)
    with pytest.raises(FormError, match="only 1 bytes are left"):
        Reader(b"\x05\x00", 0, 2, "the part").count("things", 100)


def test_names_are_bounded_utf8() -> None:
    text = "größe ∑"
    raw = text.encode()
    assert Reader(bytes([len(raw)]) + raw, 0, len(raw) + 1, "p").name() == text
    for bad in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80"):
        with pytest.raises(FormError, match=r"offset 2 .*not UTF-8"):
            Reader(bytes([len(bad) + 1]) + b"a" + bad, 0, len(bad) + 2, "p").name()
    with pytest.raises(FormError, match="expected at most 100000"):
        Reader(unsigned(limits.NAME_BYTES + 1) + bytes(200_000), 0, 200_000, "p").name()


def test_names_are_shown_without_control_characters_and_cut() -> None:
    assert shown("naïve") == "naïve"
    assert shown("a\x1b[2Jb") == r"'a\x1b[2Jb'"
    assert len(shown("x" * 10_000)) < 100


def test_an_error_says_function_and_offset_and_is_the_users() -> None:
    error = FormError(255, "found a, expected b", 7)
    assert str(error) == "function 7, offset 255 (0xff): found a, expected b"
    assert isinstance(error, ModuleError)
