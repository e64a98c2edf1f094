"""The floor: `floor.c` compiled on the spot against the engine's own library, in two configurations of the engine."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from wavelock.bench.children import Child, LeftOut
from wavelock.bench.works import Job

SOURCE: Final = Path(__file__).with_name("floor.c")
COMPILERS: Final = ("cc", "clang", "gcc")
COMPILE_TIMEOUT_S: Final = 300
HINT: Final = (
    "the floor is a C program and no C compiler was found: install one (Debian: apt-get install gcc; macOS: "
    "xcode-select --install), or pip install ziglang"
)
MAPPINGS_HINT: Final = (
    "with the engine's defaults each memory is a mapping of its own, and Linux allows some 65,000 of them "
    "(vm.max_map_count); --against pooled-floor has all memories in one"
)


def find_compiler() -> list[str]:
    """The command that compiles C: the system's, or the one in the package ziglang. Raises LeftOut without one."""
    for name in COMPILERS:
        if found := shutil.which(name):
            return [found]
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc"]
    raise LeftOut(HINT)


def build_floor(folder: Path) -> Path:
    """The floor program. Raises LeftOut where it cannot be made here."""
    import wasmtime

    if sys.platform == "win32":
        raise LeftOut("the floor is linked against wasmtime's shared library, which needs Linux or macOS")
    library = Path(wasmtime._ffi.dll._name)
    program = folder / "floor"
    command = [*find_compiler(), "-O2", "-o", str(program), str(SOURCE), str(library), f"-Wl,-rpath,{library.parent}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LeftOut(f"floor.c could not be compiled: {error}") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["?"]
        raise LeftOut(f"floor.c could not be compiled with {command[0]}: {lines[0]}")
    return program


def open_floor(name: str, job: Job, wasm: list[Path], folder: Path, pooled: bool) -> Child:
    """The floor program with its agents made. wasm: the groups' modules, in the binary format. Raises LeftOut."""
    program = build_floor(folder)
    words = [str(program), str(int(pooled)), str(job.pages)]
    for group, path in zip(job.groups, wasm, strict=True):
        words += [str(path), str(group.count), str(job.slot_bytes(group))]
    try:
        return Child(name, words)
    except LeftOut as error:
        if not pooled and "instance " in str(error):
            raise LeftOut(f"{error}; {MAPPINGS_HINT}") from None
        raise
