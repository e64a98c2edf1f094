"""The command as a process: interrupts, pipes that close, disks that are full, and nothing but JSON with `--json`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

import pytest

import helpers
from wavelock import UserError, replay
from wavelock.core.abi import Outbound
from wavelock.core.runreader import RunFileReader

WAVELOCK = (sys.executable, "-m", "wavelock")
DEADLINE_S = 60
"""Only for a hang: nothing here waits for time to pass."""
posix = pytest.mark.skipif(os.name != "posix", reason="signals and /dev/full are POSIX")


@contextmanager
def started(
    folder: Path, *arguments: str | Path, program: tuple[str, ...] = WAVELOCK
) -> Iterator[subprocess.Popen[str]]:
    """A wavelock process with pipes for its output; killed where the test fails."""
    process = subprocess.Popen(
        [*program, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def run(folder: Path, *arguments: str | bytes | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """A whole wavelock process; its standard error never holds a traceback."""
    options = {"stdout": subprocess.PIPE} | options
    done = subprocess.run(
        [*WAVELOCK, *arguments],
        check=False,
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        timeout=DEADLINE_S,
        **options,
    )
    assert "Traceback" not in done.stderr
    return done


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=DEADLINE_S)
    assert "Traceback" not in err
    return out, err


def line_of(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


# ---- Ctrl-C ----


@posix
@pytest.mark.parametrize("workers", ["inline", "threads:2"])
def test_one_interrupt_ends_the_run_after_its_wave(tmp_path: Path, workers: str) -> None:
    path = helpers.write_profile(tmp_path, ticks=helpers.TICKS)
    with started(tmp_path, "run", path, "--record", "x.wavelock", "--workers", workers) as process:
        assert line_of(process.stdout) == "tick\n"
        process.send_signal(signal.SIGINT)
        out, err = finish(process)
    assert process.returncode == 0
    assert set(out.splitlines()) <= {"tick"}
    assert "stopping after this wave; again to stop at once\n" in err
    (summary,) = [line for line in err.splitlines() if line.startswith("stopped after ")]
    with RunFileReader(tmp_path / "x.wavelock") as reader:
        waves = [row.wave for row in reader.waves()]
        assert reader.head["ended"] == "stopped"
    assert waves == list(range(len(waves)))
    assert summary.startswith(f"stopped after {len(waves):,} waves: ")
    assert not list(tmp_path.glob("x.wavelock-*"))
    assert replay(tmp_path / "x.wavelock").identical


TELLING = """
import sys
from wavelock.cli import main
from wavelock.schedulers.round_robin import RoundRobin

plan = RoundRobin.plan

def tell(self, wave, ready):
    if wave == 3:
        with open("at-wave-3", "w") as pipe:
            pipe.write("wave 3 is going on")
        open("go-on").close()
    return plan(self, wave, ready)

RoundRobin.plan = tell
main()
"""
"""A `wavelock` that says through a named pipe when it is within wave 3, and waits there for another."""


@contextmanager
def interrupted_in_wave_3(folder: Path, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Runs to within wave 3 and interrupts there: the block goes on after the interrupt was taken."""
    os.mkfifo(folder / "at-wave-3")
    os.mkfifo(folder / "go-on")
    with started(folder, *arguments, program=(sys.executable, "-c", TELLING)) as process:
        assert (folder / "at-wave-3").read_text() == "wave 3 is going on"
        process.send_signal(signal.SIGINT)
        while line_of(process.stderr) != "stopping after this wave; again to stop at once\n":
            assert process.poll() is None
        (folder / "go-on").write_text("")
        yield process


@posix
def test_one_interrupt_with_json(tmp_path: Path) -> None:
    path = helpers.write_profile(tmp_path, ticks=helpers.TICKS)
    with interrupted_in_wave_3(tmp_path, "run", path, "--no-record", "--json") as process:
        out, err = finish(process)
    found = json.loads(out)
    assert (process.returncode, found["ended"], found["waves"]) == (0, "stopped", 4)
    assert err == ""


# Quick in its first waves; from wave 3 on each turn takes all of its fuel, some 100 ms.
BUSY = helpers.agent(
    f"(if (i64.ge_u (i64.load (i32.const {helpers.INBOX})) (i64.const 3)) (then (loop $again (br $again))))"
    f"(i32.store16 (i32.const {helpers.OUTBOX + 4}) (i32.const {Outbound.YIELD.value})) (i32.const 16)"
)


@posix
@pytest.mark.parametrize("workers", ["inline", "threads:2"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_second_interrupt_ends_it_at_once(tmp_path: Path, workers: str, options: tuple[str, ...]) -> None:
    """Wave 3 would take minutes: a thousand agents that use all of their fuel."""
    path = helpers.write_profile(tmp_path, "[limits]\nfuel_per_turn = 200_000_000\n", busy=BUSY)
    path.write_text(f"{path.read_text()}count = 1_000\n")
    arguments: tuple[str | Path, ...] = ("run", path, "--record", "x.wavelock", "--workers", workers, *options)
    with interrupted_in_wave_3(tmp_path, *arguments) as process:
        process.send_signal(signal.SIGINT)
        out, err = finish(process)
    assert process.returncode == 130
    assert err.strip() == "interrupted"
    assert (json.loads(out)["exit_code"] if options else out) == (130 if options else "")
    with RunFileReader(tmp_path / "x.wavelock") as reader:
        assert [row.wave for row in reader.waves()] == [0, 1, 2]
        assert reader.head["ended"] == "stopped"
    assert not list(tmp_path.glob("x.wavelock-*"))
    assert replay(tmp_path / "x.wavelock").waves == 3


ENDLESS: Final = helpers.agent(
    f"(if (i64.ge_u (i64.load (i32.const {helpers.INBOX})) (i64.const 1)) (then (loop $again (br $again))))"
    f"(i32.const {len(helpers.says('in wave 0') + helpers.yields())})",
    f'(data (i32.const {helpers.OUTBOX}) "{helpers.escaped(helpers.says("in wave 0") + helpers.yields())}")',
)


@posix
def test_a_second_interrupt_ends_even_a_turn_that_never_would(tmp_path: Path) -> None:
    """The main thread is inside the module: no handler of Python's runs there."""
    helpers.write_profile(tmp_path, "[limits]\nfuel_per_turn = 1_000_000_000_000\n", endless=ENDLESS)
    # Nothing tells from outside that the endless turn has begun: an interrupt just before it stops the run in order.
    outcomes = (interrupted_in_wave_1(tmp_path, f"{attempt}.wavelock") for attempt in range(20))
    code, err, path = next(outcome for outcome in outcomes if outcome[0] != 0)
    assert (code, err.splitlines()[-1]) == (130, "interrupted")
    assert "Traceback" not in err
    assert waves_of(path) == [0]


def interrupted_in_wave_1(folder: Path, file: str) -> tuple[int, str, Path]:
    """Exit code and stderr of a run that is interrupted again and again from its wave 1 on, and its run file."""
    with started(folder, "run", "profile.toml", "--record", file) as process:
        assert line_of(process.stdout) == "in wave 0\n"
        while not waves_of(folder / file):  # written behind the run, which by then is most likely inside wave 1
            assert process.poll() is None
        while process.poll() is None:  # two signals that come as one are one; the turn itself takes minutes
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
        _, err = finish(process)
    assert process.returncode is not None
    return process.returncode, err, folder / file


def waves_of(path: Path) -> list[int]:
    """The waves of a run file, also of one that is being made at this moment."""
    with suppress(UserError), RunFileReader(path) as reader:
        return [row.wave for row in reader.waves()]
    return []


# ---- output that nobody takes ----


@posix
def test_a_reader_that_leaves(tmp_path: Path) -> None:
    """`wavelock run | head -1`: quiet, and the run file is whole."""
    path = helpers.write_profile(tmp_path, "[run]\nwaves = 2000\n", ticks=helpers.TICKS)
    with started(tmp_path, "run", path, "--record", "x.wavelock") as process:
        assert line_of(process.stdout) == "tick\n"
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
        assert process.wait(DEADLINE_S) == 0
    assert "Traceback" not in err
    assert "Broken pipe" not in err
    with RunFileReader(tmp_path / "x.wavelock") as reader:
        assert sum(1 for _ in reader.waves()) == 2000


@posix
@pytest.mark.parametrize("command", [("plugins",), ("schema",), ("doctor", "--json"), ("--help",)])
def test_a_reader_that_is_not_there(tmp_path: Path, command: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(tmp_path, *command, stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", [("version",), ("version", "--json"), ("run", "profile.toml", "--no-record")])
def test_a_full_disk_under_standard_output(tmp_path: Path, command: tuple[str, ...]) -> None:
    helpers.write_profile(tmp_path, hello=helpers.HELLO)
    with open("/dev/full", "w") as full:
        done = run(tmp_path, *command, stdout=full)
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1] == "error: [Errno 28] No space left on device"


@posix
def test_a_terminal_shows_the_run_and_the_outputs_stay_where_they_were_sent(tmp_path: Path) -> None:
    path = helpers.write_profile(tmp_path, "[run]\nwaves = 50\n", ticks=helpers.TICKS, falls=helpers.TRAPS)
    screen, terminal = os.openpty()
    try:
        done = subprocess.run(
            [*WAVELOCK, "run", path, "--no-record"],
            check=False,
            stdout=subprocess.PIPE,
            stderr=terminal,
            text=True,
            timeout=DEADLINE_S,
        )
        shown = os.read(screen, 1 << 16).decode()
    finally:
        os.close(terminal)
        os.close(screen)
    assert (done.returncode, done.stdout) == (0, "tick\n" * 50)
    assert "wave 0: falls/0 faulted: unreachable" in shown
    assert "waves after 50 waves: 51 turns" in shown
    assert "Traceback" not in shown


# ---- one object and nothing else ----


def test_json_alone_on_standard_output(tmp_path: Path) -> None:
    path = helpers.write_profile(tmp_path, hello=helpers.HELLO, falls=helpers.TRAPS)
    for command, code in [(("run", path), 0), (("run", path, "--fail-on-fault"), 5), (("check", "none"), 2)]:
        done = run(tmp_path, *command, "--json")
        assert done.returncode == code
        assert isinstance(json.loads(done.stdout), dict)
        assert done.stdout.count("\n") == 1


def test_the_hash_seed_changes_nothing(tmp_path: Path) -> None:
    path = helpers.write_profile(
        tmp_path,
        "[run]\nwaves = 5\n[[topics]]\nname = 't'\n",
        one=helpers.TICKS,
        two=helpers.HELLO,
        three=helpers.TICKS,
    )
    digests = set()
    for seed in ("0", "1", "4711"):
        done = run(tmp_path, "run", path, "--no-record", "--json", env={**os.environ, "PYTHONHASHSEED": seed})
        digests.add(json.loads(done.stdout)["digest"])
    assert len(digests) == 1


def test_the_console_script_is_there(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("wavelock")
    if not script.exists():
        pytest.skip("the console script is not beside this interpreter")
    done = subprocess.run([str(script), "version", "--json"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert list(json.loads(done.stdout)) == ["version"]


@posix
def test_arguments_that_are_not_utf_8(tmp_path: Path) -> None:
    path = helpers.write_profile(tmp_path, hello=helpers.HELLO)
    done = run(tmp_path, "run", path, "--set", b"run.name=\xff")
    assert done.returncode == 2
    assert done.stderr == f"error: {path}: --set run.name: is not UTF-8 text\n"
    done = run(tmp_path, "run", b"\xff.toml")
    assert done.returncode == 2
    assert "no such file" in done.stderr
