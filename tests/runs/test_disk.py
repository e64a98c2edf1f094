"""No room: a disk that is full, a quota, a bound on the run file. The run stops, and its file is whole."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wavelock import EnvironmentFailure, replay
from wavelock.core.journal import RunFileJournal
from wavelock.core.runreader import RunFileReader

if TYPE_CHECKING:
    from runs.conftest import Kit

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from wavelock.cli.app import run_command
sys.exit(run_command(sys.argv[2:]))
"""


def write_talker(kit: Kit) -> Path:
    """A run that would fill 40 MB."""
    return kit.write_one(kit.agent(last=kit.say("x" * 8000) + kit.YIELD), "[run]\nwaves = 5000")


def holds_its_waves(path: Path, errors: str) -> int:
    """The file opens, replays, and holds what the error says. Answers how many waves."""
    report = replay(path)
    assert report.identical
    assert report.ended == ""
    assert f"{path}: the run file cannot be written: " in errors
    assert f"it holds every wave up to wave {report.waves - 1}, and replays to there" in errors
    assert "Traceback" not in errors
    return report.waves


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is POSIX")
@pytest.mark.parametrize("limit", [400_000, 3_000_000])
def test_a_quota_ends_the_run_and_keeps_the_file(kit: Kit, limit: int) -> None:
    write_talker(kit)
    path = kit.folder / "run.wavelock"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), "run", "profile.toml", "--record", "run.wavelock", "--json"],
        cwd=kit.folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert '"exit_code": 4' in done.stdout
    if "it holds no wave" in done.stderr:
        with RunFileReader(path) as reader:
            assert list(reader.waves()) == []
    else:
        assert holds_its_waves(path, done.stderr) < 5000


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is POSIX")
@pytest.mark.parametrize("limit", [0, 5000, 40_000])
def test_where_not_even_the_tables_fit_nothing_is_left(kit: Kit, limit: int) -> None:
    write_talker(kit)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), "run", "profile.toml"],
        cwd=kit.folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "run-0001.wavelock: the run file cannot be " in done.stderr
    assert "Traceback" not in done.stderr
    assert list((kit.folder / "runs").iterdir()) == []


def test_the_bound_on_the_run_file_ends_the_run(kit: Kit) -> None:
    write_talker(kit)
    code, output, errors = kit.finish(
        "run", "profile.toml", "--record", "run.wavelock", "--set", "limits.journal=2000000", "--json"
    )
    assert code == 4
    assert '"kind": "EnvironmentFailure"' in output
    assert "database or disk is full (limits.journal is 1.907 MiB)" in errors
    path = kit.folder / "run.wavelock"
    holds_its_waves(path, errors)
    assert path.stat().st_size <= 2_000_000
    code, output, _ = kit.finish("inspect", "run.wavelock")
    assert code == 0
    assert "cut off" in output


def test_the_python_interface_raises_once_and_closes(kit: Kit) -> None:
    write_talker(kit)
    with pytest.raises(EnvironmentFailure, match=r"run\.wavelock: the run file cannot be written") as raised:
        kit.run("run.wavelock", "limits.journal=1000000")
    holds_its_waves(kit.folder / "run.wavelock", str(raised.value))


def test_a_failure_that_shows_only_at_the_end_is_raised_by_the_end(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    kit.write_one(kit.agent([kit.say("x") + kit.YIELD] * 9))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFileJournal, "_finish", fail)
    with pytest.raises(EnvironmentFailure, match=r"No space left on device; it holds every wave up to wave"):
        kit.run()
    assert replay(kit.folder / "run.wavelock").identical


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("mounting a small file system takes root on Linux")
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=2m,nr_inodes=64", "tmpfs", str(folder)]
    made = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_run_and_keeps_the_file(kit: Kit, small_disk: Path) -> None:
    write_talker(kit)
    path = small_disk / "run.wavelock"
    code, _, errors = kit.finish("run", "profile.toml", "--record", path)
    assert code == 4
    holds_its_waves(path, errors)
    code, _, errors = kit.finish("run", "profile.toml", "--set", f"record.folder={small_disk}")
    assert code == 4
    assert "Traceback" not in errors
    assert [each.name for each in small_disk.iterdir() if each.name.startswith("run-")] == []
