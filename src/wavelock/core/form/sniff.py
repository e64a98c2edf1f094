"""Recognises what is given as a module and is none, so that the error can say what it is."""

from __future__ import annotations

import codecs
from typing import Final

from wavelock.core.form.binary import FormError

MAGIC: Final = b"\0asm"
VERSION: Final = b"\x01\0\0\0"
HEADER_BYTES: Final = len(MAGIC) + len(VERSION)
_PREVIEW_BYTES: Final = 4096

_KNOWN: Final = (
    (
        b"\x7fELF",
        "an ELF file (a native program, or a module that an engine precompiled): give the .wasm file",
    ),
    (b"\xcf\xfa\xed\xfe", "a Mach-O file: compile for WebAssembly"),
    (b"MZ", "a Windows program: compile for WebAssembly"),
    (b"!<arch>\n", "a static library: link it into a module"),
    (b"BC\xc0\xde", "LLVM bitcode: compile it to an object and link that (-flto leaves bitcode in .o files)"),
    (b"\x1f\x8b", "compressed with gzip: decompress it first"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard: decompress it first"),
    (b"BZh", "compressed with bzip2: decompress it first"),
    (b"\xfd7zXZ\0", "compressed with xz: decompress it first"),
    (b"PK\x03\x04", "a zip archive: take the module out of it first"),
    (b"version https://git-lfs", "a Git LFS pointer: fetch the file with `git lfs pull`"),
)


def check_header(data: bytes) -> None:
    """Raises FormError unless `data` begins as a core WebAssembly module, version 1."""
    if data.startswith(MAGIC + VERSION):
        return
    if data.startswith(MAGIC) and len(data) >= HEADER_BYTES:
        raise _other_version(data)
    if (MAGIC + VERSION).startswith(data):
        raise FormError(
            len(data),
            f"the file ends after {len(data)} bytes, expected a module: at least {HEADER_BYTES} bytes",
        )
    for start, what in _KNOWN:
        if data.startswith(start):
            raise FormError(0, f"this is not a WebAssembly module but {what}")
    raise _text(data) or FormError(
        0, f"found {_hexadecimal(data[:4])}, expected the bytes 00 61 73 6d of a WebAssembly module"
    )


def _other_version(data: bytes) -> FormError:
    version, layer = int.from_bytes(data[4:6], "little"), int.from_bytes(data[6:8], "little")
    if layer == 1:
        way_out = "build for wasm32-unknown-unknown or wasm32-freestanding, without a component adapter"
        return FormError(4, f"this is a WebAssembly component, not a core module; {way_out}")
    return FormError(
        4, f"found WebAssembly version {version}, layer {layer}, expected version 1, layer 0 (a core module)"
    )


def _text(data: bytes) -> FormError | None:
    try:
        # An incremental decoder, because a preview may be cut in the middle of a character.
        text = codecs.getincrementaldecoder("utf-8")().decode(data[:_PREVIEW_BYTES])
    except UnicodeDecodeError:
        return None
    if text.lstrip("\ufeff \t\r\n").startswith(("(module", "(component", "(;", ";;", "(func", "(memory", "(type")):
        return FormError(0, "this is WebAssembly text: convert it with wat2wasm, or name the file .wat")
    if all(character.isprintable() or character in "\t\r\n\f\ufeff" for character in text):
        return FormError(0, "this is text, expected a WebAssembly module in its binary format")
    return None


def _hexadecimal(data: bytes) -> str:
    return data.hex(" ")
