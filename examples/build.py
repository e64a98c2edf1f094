"""Build what is checked in as modules from C sources: the examples' agents, the benchmarks' kernels, the hub.

python examples/build.py            build every module whose source lies beside it
python examples/build.py --check    build into a temporary folder and compare the bytes with what is checked in

Needs the package ziglang (in the extra `dev`), which brings a C compiler for WebAssembly on every system. A source
whose first line is `// build: FLAGS` is compiled with those, too.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ["-target", "wasm32-freestanding", "-O2", "-nostdlib", "-Wl,--no-entry", "-Wl,--strip-all"]
MARK = "// build: "
FOLDERS = ("benchmarks/kernels", "examples", "src/wavelock/wasm_engines")
FLAGS = [*TARGET, "-Wall", "-Wextra", "-Werror", "-I", "guests/c"]


def sources() -> list[Path]:
    """Every source, in order of their paths."""
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.c"))


def build(source: Path, target: Path) -> None:
    """Compile one module. Raises CalledProcessError with the compiler's words."""
    first = source.read_text().partition("\n")[0]
    more = first.removeprefix(MARK).split() if first.startswith(MARK) else []
    command = [
        sys.executable,
        "-m",
        "ziglang",
        "cc",
        *FLAGS,
        *more,
        str(source.relative_to(ROOT)),
        "-o",
        str(target),
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    target.chmod(0o644)


def check(source: Path, folder: Path) -> bool:
    """Whether the module that is checked in is what its source builds to."""
    built = folder / "built.wasm"
    build(source, built)
    module = source.with_suffix(".wasm")
    return module.is_file() and module.read_bytes() == built.read_bytes()


def main(arguments: list[str]) -> int:
    """Build or check all modules. Answers the exit code."""
    if arguments not in ([], ["--check"]):
        print(__doc__)
        return 2
    if not arguments:
        for source in sources():
            build(source, source.with_suffix(".wasm"))
        print(f"built {len(sources())} modules")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        stale = [str(source.relative_to(ROOT)) for source in sources() if not check(source, Path(folder))]
    print(f"{len(sources())} modules checked; differing from their sources: {', '.join(stale) or 'none'}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
