"""Compiled modules on disk: by content hash, bounded, safe against torn and foreign files.

A file is `magic, BLAKE3 of the rest, the rest`. It is written beside its place and renamed into it, so that a reader
sees a whole file or none; a file whose hash is wrong is removed and treated as absent. When the folder grows past its
bound the files used longest ago go first.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Final

from blake3 import blake3

_MAGIC: Final = b"wavelock-cache-1\n"
MAX_BYTES: Final = 512 << 20


def cache_folder() -> Path:
    """Where caches lie: `WAVELOCK_CACHE`, else the system's place for them."""
    chosen = os.environ.get("WAVELOCK_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "wavelock"


class ModuleCache:
    """One engine's compiled modules. Every failure of the disk means a miss, never an error."""

    def __init__(self, engine: str, folder: Path | None = None, max_bytes: int = MAX_BYTES) -> None:
        self._folder = (folder or cache_folder()) / engine
        self._max_bytes = max_bytes

    def _path(self, key: str) -> Path:
        return self._folder / f"{blake3(key.encode()).hexdigest()}.bin"

    def load(self, key: str) -> bytes | None:
        """What was stored under this key, or None."""
        path = self._path(key)
        try:
            raw = path.read_bytes()
        except OSError:
            return None
        head = len(_MAGIC)
        data = raw[head + 32 :]
        if raw[:head] != _MAGIC or raw[head : head + 32] != blake3(data).digest():
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return data

    def store(self, key: str, data: bytes) -> None:
        """Keep data under this key, and the folder within its bound."""
        if len(data) > self._max_bytes:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._write(self._path(key), _MAGIC + blake3(data).digest() + data)
            self._trim()

    def _write(self, path: Path, raw: bytes) -> None:
        import tempfile

        handle, name = tempfile.mkstemp(dir=self._folder, prefix="new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(raw)
            os.replace(name, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise

    def _trim(self) -> None:
        files = []
        for path in self._folder.iterdir():
            with contextlib.suppress(OSError):
                stat = path.stat()
                files.append((stat.st_mtime_ns, path.name, stat.st_size, path))
        excess = sum(size for _, _, size, _ in files) - self._max_bytes
        for _, _, size, path in sorted(files):
            if excess <= 0:
                return
            with contextlib.suppress(OSError):
                path.unlink()
                excess -= size
