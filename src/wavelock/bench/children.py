"""Programs that are measured, as child processes that speak a protocol of lines.

A child prints one JSON object when its agents are made: `agents`, and what else it has to say of itself. Then it
answers each line `WAVES` on its standard input with a line `NANOSECONDS TURNS MESSAGES`: wall time by its own clock,
and what it did in it. At the end of its input a child may print one number more, a checksum, and ends. What it writes
on standard error is kept: the last line is the reason where a child fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

START_TIMEOUT_S: Final = 300.0
"""A million instances, or a framework that starts a server."""
ANSWER_TIMEOUT_S: Final = 120.0
END_TIMEOUT_S: Final = 10.0
REASON_CHARACTERS: Final = 300


class Lap(NamedTuple):
    """What was done in so many waves, and how long it took."""

    ns: int
    turns: int
    messages: int

    @property
    def ns_per_turn(self) -> float:
        """Wall time of one turn."""
        return self.ns / self.turns


class LeftOut(Exception):  # noqa: N818 - an outcome that is reported, not an error of the command
    """Something cannot be measured here. Its text is the reason, in one line, with the way out where there is one."""


class Child:
    """One child. Make it, `run` it as often as needed, `close` it; any failure is a `LeftOut`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        """Start the program and wait until its agents are made."""
        self.name = name
        self._answer_timeout_s = answer_timeout_s
        self._late = False
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed by close()
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env=environment,
                start_new_session=True,  # an interrupt is ours to handle
            )
        except OSError as error:
            self._errors.close()
            raise LeftOut(f"{name} cannot be started: {error}") from None
        try:
            self.ready = self._read_ready(start_timeout_s)
        except BaseException:
            self.close()
            raise

    def _read_ready(self, timeout_s: float) -> dict[str, Any]:
        line = self._read_line(timeout_s)
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("agents"), int):
            raise LeftOut(f"{self.name}: found {line.strip()!r} as its first line, expected a JSON object with agents")
        return found

    def _read_line(self, timeout_s: float) -> str:
        """The next line. A child that is not done in time is ended, which ends the reading, too."""
        assert self._process.stdout is not None
        with self._ended_after(timeout_s):
            line = self._process.stdout.readline()
        if not line.endswith("\n"):
            raise LeftOut(f"{self.name}: no answer within {timeout_s:g} s" if self._late else self._reason())
        return line

    @contextlib.contextmanager
    def _ended_after(self, timeout_s: float) -> Iterator[None]:
        timer = threading.Timer(timeout_s, self._end_late)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _end_late(self) -> None:
        self._late = True
        self._kill()

    def _kill(self) -> None:
        """End the child and what it started."""
        if os.name == "posix":
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()

    def _reason(self) -> str:
        """Why the child ended: the last line that it wrote on standard error."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_TIMEOUT_S)
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        code = self._process.returncode
        said = lines[-1][:REASON_CHARACTERS] if lines else "it said nothing"
        return f"{self.name} ended with {code if code is not None else 'its output closed'}: {said}"

    def run(self, waves: int) -> Lap:
        """Have it run so many waves."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it is gone: the reading below says why
            self._process.stdin.write(f"{waves}\n")
            self._process.stdin.flush()
        line = self._read_line(self._answer_timeout_s)
        words = line.split()
        if len(words) != 3 or not all(word.isdecimal() for word in words) or "0" in words[:2]:
            raise LeftOut(f"{self.name}: found {line.strip()!r}, expected nanoseconds, turns and messages")
        return Lap(*map(int, words))

    def close(self) -> int | None:
        """End it. Answers its checksum where it gave one. Safe to call twice."""
        if self._errors.closed:
            return None
        try:
            with self._ended_after(END_TIMEOUT_S):
                last, _ = self._process.communicate()
        except (OSError, ValueError):
            last = ""
        finally:
            self._kill()
            self._process.wait()
            self._errors.close()
        return int(last) if last.strip().isdecimal() else None
