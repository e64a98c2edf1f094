"""Virtual environments for peers, in the cache folder: made on first use, kept, one for each set of requirements.

An environment without its mark was not finished and is made anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from wavelock.bench.children import REASON_CHARACTERS, LeftOut
from wavelock.core.cache import cache_folder
from wavelock.core.digest import hash_bytes

INSTALL_TIMEOUT_S: Final = 900
MARK: Final = "complete"


def environment_folder(name: str, requirements: str) -> Path:
    """Where the environment of a peer lies: by its name, its requirements and the Python that made it."""
    key = hash_bytes(f"{requirements}\n{sys.version}\n{sys.base_prefix}".encode())[:12]
    return cache_folder() / "bench" / f"{name}-{key}"


def environment_python(name: str, requirements: Path, told: Callable[[str], None]) -> Path:
    """The Python of a peer's environment, which is made where there is none. told: is told what takes long.

    requirements: a file as pip reads it. Raises LeftOut where it cannot be made.
    """
    folder = environment_folder(name, requirements.read_text(encoding="utf-8"))
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if (folder / MARK).exists() and python.exists():
        return python
    told(f"installing {name} into {folder}")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _run(name, [sys.executable, "-m", "venv", str(folder)])
        _run(name, [str(python), "-m", "pip", "install", "--disable-pip-version-check", "-q", "-r", str(requirements)])
        (folder / MARK).touch()
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise LeftOut(f"{name} cannot be installed: {error}") from None
        raise
    return python


def _run(name: str, command: list[str]) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise LeftOut(f"{name} cannot be installed: not done within {INSTALL_TIMEOUT_S} s") from None
    if done.returncode:
        raise LeftOut(f"{name} cannot be installed: {error_line(done.stderr or done.stdout)}")


def error_line(text: str) -> str:
    """The line that says what is wrong: pip's last error, which sums up those before it, else the first line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it said nothing"]
    return next((line for line in reversed(lines) if line.startswith("ERROR")), lines[0])[:REASON_CHARACTERS]
