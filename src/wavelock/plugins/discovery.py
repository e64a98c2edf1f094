"""Which entry points are installed, remembered from one process to the next.

To read the metadata of all that is installed, and to import what reads it, takes as long as the rest of the plugins.

Rules:
- What is remembered holds for one state of `sys.path`: of each folder there, each distribution's folder and the files
  in it that name it and its entry points, by time and size. Anything else is read anew.
- Where metadata may come from a finder that is not Python's own, nothing is remembered.
- The order of the metadata reaches nothing: who asks sorts.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import re
import sys
from importlib.machinery import PathFinder
from typing import Any, Final, NamedTuple

import msgspec

from wavelock.core.cache import ModuleCache
from wavelock.plugins.markers import PROJECT

_VALUE: Final = re.compile(r"(?P<module>[\w.]+)\s*(?::\s*(?P<attributes>[\w.]+))?\s*(?:\[.*\])?\s*")
_FOLDERS: Final = (".dist-info", ".egg-info")
_FILES: Final = ("entry_points.txt", "METADATA", "PKG-INFO")
_MOST_BYTES: Final = 4 << 20
"""Of what is remembered: some kilobytes for each environment that Wavelock runs in."""


class Entry(NamedTuple):
    """An entry point of the group `wavelock`. value: `module` or `module:attribute`; distribution: name and version."""

    name: str
    value: str
    distribution: str

    def load(self) -> Any:
        """Import what it names. Raises whatever that does, and ValueError for what names nothing."""
        found = _VALUE.fullmatch(self.value)
        if found is None:
            raise ValueError(f'an entry point is `module` or `module:attribute`, found "{self.value}"')
        module = importlib.import_module(found["module"])
        return functools.reduce(getattr, (found["attributes"] or "").split(".") if found["attributes"] else (), module)


def read_entries() -> list[Entry]:
    """The entry points, from the metadata of everything that is installed."""
    from importlib import metadata

    return [
        Entry(entry.name, entry.value, f"{entry.dist.name} {entry.dist.version}" if entry.dist else "(no distribution)")
        for entry in metadata.entry_points(group=PROJECT)
    ]


def remembered_entries() -> list[Entry]:
    """The same, from the cache where nothing was installed or removed since."""
    state = path_state()
    if state is None:
        return read_entries()
    cache = ModuleCache("plugins", max_bytes=_MOST_BYTES)
    stored = cache.load(state)
    if stored is not None:
        with contextlib.suppress(msgspec.MsgspecError):
            return msgspec.msgpack.decode(stored, type=list[Entry])
    entries = read_entries()
    cache.store(state, msgspec.msgpack.encode(entries))
    return entries


def path_state() -> str | None:
    """All that the metadata of installed distributions is read from, with times and sizes. None: it cannot be told."""
    if not _has_folder():
        return None
    if any(hasattr(finder, "find_distributions") and finder is not PathFinder for finder in sys.meta_path):
        return None
    return repr([(os.path.abspath(entry), _folder_state(entry or ".")) for entry in dict.fromkeys(sys.path)])


def _has_folder() -> bool:
    """Whether the folder that this process works in is still there: relative entries of `sys.path` begin in it."""
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _folder_state(folder: str) -> object:
    """What an entry of `sys.path` says of distributions: a folder with theirs in it, an egg, or one archive."""
    try:
        with os.scandir(folder) as found:
            names = sorted(item.name for item in found if item.name.lower().endswith(_FOLDERS))
    except OSError:
        return _file_state(folder)
    if folder.lower().endswith(".egg"):
        names.append("EGG-INFO")
    return [(name, *(_file_state(os.path.join(folder, name, file)) for file in _FILES)) for name in names]


def _file_state(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
