"""Random valid modules: binaryen's `wasm-opt --translate-to-fuzz` makes one from whatever bytes it is given."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from random import Random
from typing import Final

from wavelock.core.errors import UserError
from wavelock.testing.fuzz.recipe import Recipe

PROGRAM: Final = "wasm-opt"
INPUT_BYTES: Final = (100, 200, 300, 500, 800, 1500)
"""Lengths of the random input. A module comes to about as many bytes and some hundred more."""
_TIMEOUT_S: Final = 60
_ALWAYS: Final = (
    *("--enable-bulk-memory", "--enable-sign-ext", "--enable-nontrapping-float-to-int"),
    *("--enable-multivalue", "--enable-mutable-globals"),
)


class Binaryen:
    """binaryen's `wasm-opt`, found through PATH: a `recipe.Maker`."""

    def __init__(self) -> None:
        """Raises UserError where there is none, with the way out."""
        found = shutil.which(PROGRAM)
        if found is None:
            raise UserError(
                f"found no {PROGRAM} on the PATH, which makes the random modules; install binaryen "
                "(Debian: apt-get install binaryen; macOS: brew install binaryen)"
            )
        self._program = found
        fast = Path("/dev/shm")  # noqa: S108 - a folder of our own inside, in memory, where there is such a thing
        self._folder = tempfile.TemporaryDirectory(prefix="wavelock-fuzz-", dir=fast if fast.is_dir() else None)
        self._numbers = itertools.count()

    @property
    def version(self) -> str:
        """What it calls itself: modules of another version are others."""
        done = subprocess.run([self._program, "--version"], capture_output=True, text=True, check=True)
        numbers = re.search(r"\d+", done.stdout)
        return numbers.group() if numbers else done.stdout.strip()

    def recipe(self, random: Random) -> Recipe:
        """A recipe drawn at random: half of the modules have no SIMD, so that engines without it get their share."""
        options = list(_ALWAYS)
        if random.random() < 0.5:
            options.append("--enable-simd")
        if random.random() < 0.2:
            options.append("--enable-reference-types")
        if random.random() < 0.2:
            options.append("--enable-threads")
        if random.random() < 0.3:
            options.append("--fuzz-passes")
        return Recipe(random.randbytes(random.choice(INPUT_BYTES)), tuple(options))

    def make(self, wanted: Recipe) -> bytes | None:
        """The module of a recipe; None where binaryen itself fails at it."""
        number = next(self._numbers)
        source, made = (Path(self._folder.name, f"{number}.{kind}") for kind in ("input", "wasm"))
        source.write_bytes(wanted.content)
        command = [self._program, "--translate-to-fuzz", str(source), "-o", str(made), *wanted.options]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
            return made.read_bytes() if done.returncode == 0 and made.exists() else None
        except subprocess.TimeoutExpired:
            return None
        finally:
            source.unlink(missing_ok=True)
            made.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the temporary folder. Safe to call twice."""
        self._folder.cleanup()
