"""`kill -9` at any moment: the file opens at a committed wave, and holds the same run up to there."""

from __future__ import annotations

import random
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wavelock import UserError, replay
from wavelock.core.runreader import RunFileReader

if TYPE_CHECKING:
    from runs.conftest import Kit

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
LINE = 2000
"""Bytes that a wave prints: a pipe holds some 30 waves, so the child is never far ahead of what was read."""
REFERENCE, FURTHEST = 700, 500
MODES = ["start"] * 3 + ["middle"] * 7 + ["written"] * 7 + ["end"] * 3
"""`written`: killed once the file holds as many waves as there were lines, not wherever the writer happens to be."""


def write_ticker(kit: Kit) -> Path:
    """A run that prints a line a wave and writes to every table as it goes."""
    turn = kit.say("t" * LINE) + kit.put("k", b"v" * 100) + kit.log(3, "tick") + kit.YIELD
    (kit.folder / "lines.txt").write_text("".join(f"line {number}\n" for number in range(5000)))
    return kit.write(
        '[[inputs]]\nname = "lines"\nfiles = ["lines.txt"]\nto = ["quiet"]\n'
        '[[agents]]\nname = "ticker"\nmodule = "ticker.wat"\ngrants = { state = ["k"] }\n'
        '[[agents]]\nname = "quiet"\nmodule = "quiet.wat"\ncount = 3\ngrants = { state = ["other"] }\n',
        ticker=kit.agent(last=turn),
        quiet=kit.agent([kit.put("other", b"x")], last=kit.put("other", b"y")),
    )


@pytest.fixture(scope="module")
def moments() -> list[tuple[str, int]]:
    """When to kill: after how many lines, in which part of a run."""
    chance = random.Random(20)
    furthest = {"start": 0, "middle": FURTHEST, "written": FURTHEST, "end": 40}
    return [(mode, chance.randint(min(1, furthest[mode]), furthest[mode])) for mode in MODES]


@pytest.fixture(scope="module")
def digests(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> list[bytes]:
    """The digests of the run, not killed."""
    kit = request.getfixturevalue("make_kit")(tmp_path_factory.mktemp("reference"))
    write_ticker(kit)
    path = kit.run("reference.wavelock", f"run.waves={REFERENCE}")
    with RunFileReader(path) as reader:
        return [row.digest for row in reader.waves()]


def waves_of(path: Path) -> int:
    """How many waves a run file holds, also one that is being written at this moment."""
    with RunFileReader(path) as reader:
        return len(reader.rows("SELECT wave FROM waves"))


def killed(kit: Kit, number: int, mode: str, lines: int) -> Path:
    """The run file of a process that was killed then."""
    path = kit.folder / f"killed-{number}.wavelock"
    bound = ["--waves", str(lines)] if mode == "end" else []
    with kit.command("run", "profile.toml", "--record", path, *bound) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stderr.readline()
        for _ in range(lines):
            assert len(process.stdout.readline()) == LINE + 1
        while mode == "written" and waves_of(path) < lines:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert mode == "end" or process.returncode == -signal.SIGKILL
    return path


def test_a_killed_run_opens_and_replays_to_its_last_wave(
    kit: Kit, moments: list[tuple[str, int]], digests: list[bytes]
) -> None:
    write_ticker(kit)
    logs_left, waves = 0, []
    for number, (mode, lines) in enumerate(moments):
        path = killed(kit, number, mode, lines)
        logs_left += path.with_name(path.name + "-wal").exists()
        with RunFileReader(path) as reader:
            found = [(row.wave, row.digest) for row in reader.waves()]
            ended = reader.head.get("ended")
        assert found == list(enumerate(digests))[: len(found)], (mode, lines)
        assert len(found) <= lines + 100
        assert ended is None or (mode, ended) == ("end", "waves")
        waves.append(len(found))
        if found:
            report = replay(path)
            assert (report.identical, report.waves, report.first_divergence) == (True, len(found), None)
            assert report.digest == digests[len(found) - 1].hex()
        else:
            with pytest.raises(UserError, match="holds no committed wave"):
                replay(path)
        assert [each.name for each in kit.folder.glob(f"{path.name}*")] == [path.name]
    assert logs_left >= 7
    assert len(set(waves)) >= 7
    assert max(waves) > 100
    code, output, _ = kit.finish("inspect", "killed-3.wavelock")
    assert code == 0
    assert "cut off (the run was killed, or still goes on)" in output


def test_a_killed_runs_file_is_not_written_over(kit: Kit) -> None:
    write_ticker(kit)
    path = killed(kit, 0, "written", 40)
    code, _, errors = kit.finish("run", "profile.toml", "--record", path)
    assert code == 2
    assert "exists already" in errors
    assert replay(path).identical
