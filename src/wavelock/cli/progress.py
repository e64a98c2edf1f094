"""What a run shows while it goes on: a live line on a terminal, plain lines elsewhere. An observer like any other."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Final

from wavelock.cli.report import engine_of, one_line
from wavelock.core.abi import LOG_LEVELS
from wavelock.core.events import AgentFault, RunEnded, RunStarted, WaveCommitted
from wavelock.plugins import hookimpl

REFRESH_S: Final = 0.1
LOG_LEVEL_SHOWN: Final = 1
"""Log lines up to this level (warning) are shown; all are in the run file."""


class Progress:
    """Shows nothing while the run goes on; base of the others, and what `--json` uses.

    lost: why output could not be written, once it could not; the run goes on, for its file and its digest.
    """

    lost: OSError | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take down the display."""

    def summary(self, result: RunEnded, elapsed_s: float) -> None:
        """The closing lines, on standard error: standard output is the agents'."""
        rate = f"{result.turns / elapsed_s:,.0f} turns/s" if elapsed_s else ""
        print(
            f"{result.ended} after {result.waves:,} waves: {result.turns:,} turns, {result.messages:,} messages, "
            f"{result.faults:,} faults, fuel {result.fuel:,}; {elapsed_s:.2f} s, {rate}",
            file=sys.stderr,
        )
        print(f"digest {result.digest}", file=sys.stderr)
        if result.run_file:
            print(f"run file {result.run_file} (wavelock replay, inspect, diff)", file=sys.stderr)


class PlainProgress(Progress):
    """Lines: outputs on standard output; faults, warnings and models on standard error."""

    def _echo(self, text: str, err: bool = False) -> None:
        if self.lost is None:
            try:
                print(text, file=sys.stderr if err else sys.stdout, flush=True)
            except OSError as error:
                self.lost = error

    @hookimpl
    def wavelock_run_started(self, run: RunStarted) -> None:
        """One line of what runs, and one a model."""
        self._echo(
            f"{run.name}: {run.agents:,} agents, seed {run.seed}; {engine_of(run)}, {run.scheduler}, "
            f"{run.transport}, {run.workers}:{run.worker_count}",
            err=True,
        )
        for model in run.models:
            self._echo(f"model {model.name} version {model.version}: {model.got} ({model.reason})", err=True)

    @hookimpl
    def wavelock_agent_faulted(self, fault: AgentFault) -> None:
        """One line a fault."""
        detail = f" ({fault.detail})" if fault.detail else ""
        self._echo(f"wave {fault.wave}: {fault.agent} faulted: {fault.kind}{detail}", err=True)

    @hookimpl
    def wavelock_wave_committed(self, wave: WaveCommitted) -> None:
        """The wave's outputs, where they are text, and its warnings."""
        for output in wave.outputs:
            text = output.text
            self._echo(text if text is not None else f"{output.agent}: {len(output.payload)} bytes, not text")
        for line in wave.logs:
            if line.level <= LOG_LEVEL_SHOWN:
                self._echo(f"wave {line.wave}: {line.agent}: {LOG_LEVELS[line.level]}: {one_line(line.text)}", err=True)


class LiveProgress(PlainProgress):
    """The same lines above a live one with wave, turns and rate."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        # Outputs go above the live line where both are on the terminal, and to where they were sent elsewhere.
        self._live = Live(
            console=Console(stderr=True),
            auto_refresh=False,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._began = self._shown = time.monotonic()
        self._turns = 0

    def __enter__(self) -> LiveProgress:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    @hookimpl
    def wavelock_wave_committed(self, wave: WaveCommitted) -> None:
        """The lines of a wave, and ten times a second the live one."""
        super().wavelock_wave_committed(wave)
        self._turns += wave.turns
        now = time.monotonic()
        if now - self._shown >= REFRESH_S:
            self._shown = now
            rate = self._turns / (now - self._began)
            self._live.update(
                f"wave {wave.wave:,}  turns {self._turns:,}  {rate:,.0f} turns/s  live agents {wave.live:,}",
                refresh=True,
            )


def make_progress(quiet: bool) -> Progress:
    """The display that fits where the command runs."""
    if quiet:
        return Progress()
    return LiveProgress() if sys.stderr.isatty() else PlainProgress()
