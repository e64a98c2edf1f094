"""The binary format's smallest parts: LEB128 integers, names, vectors, and a reader that stays within bounds.

The functions take the whole module and an absolute offset, so that every error can say where. Those that
decode an integer do not check an end of their own (each byte costs): past the module's last byte they raise
IndexError, which `Reader` and `instructions` turn into a `FormError`, and both compare the offset that comes
back with their own end.
"""

from __future__ import annotations

from wavelock.core.errors import ModuleError
from wavelock.core.form import limits

_SHOWN_CHARACTERS = 80


class FormError(ModuleError):
    """What is wrong at one place of a module: the byte offset, and the function's index inside one."""

    def __init__(self, offset: int, what: str, function: int | None = None) -> None:
        self.offset = offset
        self.what = what
        self.function = function
        super().__init__(offset, what, function)

    def __str__(self) -> str:
        place = f"function {self.function}, " if self.function is not None else ""
        return f"{place}{at(self.offset)}: {self.what}"


def at(offset: int) -> str:
    """An offset as every error writes it: decimal, and hexadecimal as `wasm-objdump` prints it."""
    return f"offset {offset} ({offset:#x})"


def shown(text: str) -> str:
    """A name from a module, safe to print: it may hold control characters or a megabyte of text."""
    if len(text) > _SHOWN_CHARACTERS:
        text = text[:_SHOWN_CHARACTERS] + "..."
    return text if text.isprintable() else ascii(text)


def read_u32(data: bytes, offset: int) -> tuple[int, int]:
    """An unsigned 32-bit LEB128 integer and the offset after it."""
    byte = data[offset]
    if byte < 0x80:
        return byte, offset + 1
    return read_unsigned(data, offset, 32)


def read_unsigned(data: bytes, offset: int, bits: int) -> tuple[int, int]:
    """An unsigned LEB128 integer of at most `bits` bits and the offset after it."""
    value = 0
    position = offset
    for shift in range(0, bits, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> bits:
                raise _out_of_range(offset, f"u{bits}")
            return value, position
    raise _too_long(offset, f"u{bits}", bits)


def read_signed(data: bytes, offset: int, bits: int) -> tuple[int, int]:
    """A signed LEB128 integer of at most `bits` bits and the offset after it."""
    value = 0
    position = offset
    for shift in range(0, bits, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            value -= (byte & 0x40) << (shift + 1)
            # The last byte's unused bits must repeat the sign; where they do not, the value is out of range.
            if value >> (bits - 1) not in (0, -1):
                raise _out_of_range(offset, f"s{bits}")
            return value, position
    raise _too_long(offset, f"s{bits}", bits)


def _out_of_range(offset: int, kind: str) -> FormError:
    return FormError(offset, f"found a LEB128 integer with bits beyond its type set, expected a {kind}")


def _too_long(offset: int, kind: str, bits: int) -> FormError:
    return FormError(offset, f"found a LEB128 integer of more than {(bits + 6) // 7} bytes, expected a {kind}")


class Reader:
    """Reads a part of a module from `position` to `end`; `part` is its name in errors."""

    __slots__ = ("data", "end", "part", "position")

    def __init__(self, data: bytes, start: int, end: int, part: str) -> None:
        self.data = data
        self.position = start
        self.end = end
        self.part = part

    @property
    def left(self) -> int:
        """The bytes not read yet."""
        return self.end - self.position

    def byte(self) -> int:
        """The next byte."""
        offset = self.position
        self._advance(offset, offset + 1)
        return self.data[offset]

    def u32(self) -> int:
        """The next unsigned LEB128 integer."""
        offset = self.position
        try:
            value, after = read_u32(self.data, offset)
        except IndexError:
            raise self._cut(offset) from None
        self._advance(offset, after)
        return value

    def raw(self, length: int) -> bytes:
        """The next `length` bytes."""
        offset = self.position
        self._advance(offset, offset + length)
        return self.data[offset : offset + length]

    def skip(self, length: int) -> None:
        """Goes past `length` bytes without copying them."""
        self._advance(self.position, self.position + length)

    def name(self) -> str:
        """The next name: a length, then UTF-8."""
        offset = self.position
        length = self.u32()
        if length > limits.NAME_BYTES:
            raise FormError(offset, f"found a name of {length} bytes, expected at most {limits.NAME_BYTES}")
        raw = self.raw(length)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            where = self.position - length + error.start
            raise FormError(where, f"found a name that is not UTF-8 in {self.part}") from None

    def count(self, what: str, most: int) -> int:
        """A vector's length, checked before anything grows with it: each entry takes at least one byte."""
        offset = self.position
        count = self.u32()
        if count > most:
            raise FormError(offset, f"found {count} {what} in {self.part}, expected at most {most}")
        if count > self.left:
            raise FormError(offset, f"found {count} {what} in {self.part}, but only {self.left} bytes are left there")
        return count

    def finish(self) -> None:
        """Checks that nothing is left."""
        if self.left:
            raise FormError(self.position, f"found {self.left} bytes more in {self.part}, expected its end")

    def _advance(self, offset: int, after: int) -> None:
        if after > self.end:
            raise self._cut(offset)
        self.position = after

    def _cut(self, offset: int) -> FormError:
        return FormError(offset, f"{self.part} ends at {at(self.end)}, inside of what starts here")
