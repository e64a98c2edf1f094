"""What is no module is recognised."""

from __future__ import annotations

import gzip

import pytest

from wavelock.core.errors import ModuleError
from wavelock.core.form import rewrite_module


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "the file ends after 0 bytes, expected a module: at least 8 bytes"),
        (b"\0asm", "the file ends after 4 bytes"),
        (b"\0asm\1\0\0", "the file ends after 7 bytes"),
        (b"\0asm\x0d\0\1\0", "this is a WebAssembly component, not a core module"),
        (b"\0asm\2\0\0\0", "found WebAssembly version 2, layer 0, expected version 1"),
        (b"\x7fELF\2\1\1\0" + bytes(8), "an ELF file"),
        (gzip.compress(b"\0asm"), "compressed with gzip"),
        (b"PK\3\4" + bytes(20), "a zip archive"),
        (b"!<arch>\nlibx.a/", "a static library"),
        (b"BC\xc0\xde" + bytes(9), "LLVM bitcode"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
        (b"(module)", "this is WebAssembly text"),
        ("\ufeff\n  ;; größe\n(module)".encode(), "this is WebAssembly text"),
        (b"(component)", "this is WebAssembly text"),
        (b"int main(void) {}\n", "this is text"),
        (b";; " + "ß".encode() * 4000, "this is WebAssembly text"),
        (b"\x80\x81\x82\x83\x84", "found 80 81 82 83, expected the bytes 00 61 73 6d"),
        (b"\0asn\1\0\0\0", "found 00 61 73 6e"),
        (b"\0as\0", "found 00 61 73 00"),
    ],
)
def test_what_is_no_module_is_said(data: bytes, what: str) -> None:
    with pytest.raises(ModuleError, match=r"^a\.bin: offset \d+ ") as caught:
        rewrite_module(data, "a.bin")
    assert what in str(caught.value)
