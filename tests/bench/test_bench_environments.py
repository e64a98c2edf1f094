"""Environments of peers: made once, kept, and every way in which they cannot be made. No network: pip is a script."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from wavelock.bench import environments
from wavelock.bench.children import LeftOut
from wavelock.bench.environments import environment_folder, environment_python, error_line

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the Python that is played is a shell script")
PYTHON = """#!/bin/sh
echo "$@" >> {log}
case "$2" in
  venv) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  pip) {pip} ;;
esac
"""
Play = Callable[[str], Path]


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Puts a script in the place of this Python, whose pip does as told. Answers the log of its command lines."""
    monkeypatch.setenv("WAVELOCK_CACHE", str(tmp_path / "cache"))

    def run(pip: str) -> Path:
        log, python = tmp_path / "log", tmp_path / "python"
        python.write_text(PYTHON.format(log=log, pip=pip))
        python.chmod(0o755)
        monkeypatch.setattr("sys.executable", str(python))
        return log

    return run


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    """A file of requirements."""
    path = tmp_path / "it.txt"
    path.write_text("it==1.0\n")
    return path


def test_made_once_and_kept(play: Play, requirements: Path) -> None:
    log = play("exit 0")
    told: list[str] = []
    python = environment_python("it", requirements, told.append)
    assert python.exists()
    assert len(log.read_text().splitlines()) == 2
    assert log.read_text().splitlines()[1].endswith(f"-r {requirements}")
    assert environment_python("it", requirements, told.append) == python
    assert len(log.read_text().splitlines()) == 2, "nothing was run"
    assert told == [f"installing it into {python.parents[1]}"]


def test_other_requirements_are_another_environment(play: Play, requirements: Path) -> None:
    play("exit 0")
    python = environment_python("it", requirements, lambda _text: None)
    requirements.write_text("it==2.0\n")
    assert environment_python("it", requirements, lambda _text: None) != python


def test_a_half_made_one_is_made_anew(play: Play, requirements: Path) -> None:
    log = play("exit 0")
    python = environment_python("it", requirements, lambda _text: None)
    (python.parents[1] / environments.MARK).unlink()
    (python.parents[1] / "rest").touch()
    environment_python("it", requirements, lambda _text: None)
    assert len(log.read_text().splitlines()) == 4
    assert not (python.parents[1] / "rest").exists()


def test_pip_fails(play: Play, requirements: Path) -> None:
    play("echo 'WARNING: slow' >&2; echo 'ERROR: No matching distribution for it==1.0' >&2; exit 1")
    with pytest.raises(LeftOut) as caught:
        environment_python("it", requirements, lambda _text: None)
    assert str(caught.value) == "it cannot be installed: ERROR: No matching distribution for it==1.0"
    assert not environment_folder("it", "it==1.0\n").exists(), "nothing is left behind"


def test_pip_takes_too_long(play: Play, requirements: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play("exec sleep 600")
    monkeypatch.setattr(environments, "INSTALL_TIMEOUT_S", 0.3)
    with pytest.raises(LeftOut, match=r"^it cannot be installed: not done within 0\.3 s$"):
        environment_python("it", requirements, lambda _text: None)
    assert not environment_folder("it", "it==1.0\n").exists()


def test_no_venv(play: Play, requirements: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play("exit 0")
    monkeypatch.setattr("sys.executable", shutil.which("false"))
    with pytest.raises(LeftOut, match=r"^it cannot be installed: it said nothing$"):
        environment_python("it", requirements, lambda _text: None)


def test_no_folder(play: Play, requirements: Path, tmp_path: Path) -> None:
    play("exit 0")
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(LeftOut, match=r"^it cannot be installed: .*cache"):
        environment_python("it", requirements, lambda _text: None)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "it said nothing"),
        ("\n  first\nsecond", "first"),
        ("note\nERROR: this\nERROR: that\nhint", "ERROR: that"),
        ("note\nError", "note"),
        ("x" * 1000, "x" * 300),
    ],
)
def test_the_line_that_says_what_is_wrong(text: str, line: str) -> None:
    assert error_line(text) == line
