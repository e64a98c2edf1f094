"""`wavelock run` and `wavelock check`."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click

from wavelock.cli.progress import make_progress
from wavelock.cli.report import EXIT_INTERRUPTED, cost_of_agents, drop_output, emit, engine_of, report_interrupt
from wavelock.core.errors import EXIT_DONE, EXIT_FAULTS, UserError, WavelockError
from wavelock.core.events import RunEnded, RunStarted
from wavelock.core.phases import PhaseTimes
from wavelock.core.profile import Profile
from wavelock.core.profile_reader import DEFAULTS, build_profile, override, read_file, read_toml
from wavelock.plugins.manager import Registry
from wavelock.runtime import Runtime

FAULTS_LISTED = 1000
GRACE_S: Final = 1.0
"""What a second interrupt leaves the main thread before the process ends without it."""


def split_workers(text: str) -> tuple[str, int | None]:
    """`threads:4` to kind and count. Raises UserError."""
    kind, colon, count = text.partition(":")
    if colon and not (count.isascii() and count.isdecimal() and len(count) < 10):
        raise UserError(f'--workers {text}: expected NAME or NAME:COUNT, such as "threads:4"')
    return kind, int(count) if colon else None


def choose(raw: dict[str, Any], family: str, name: str | None) -> None:
    """Pick another member of a family; the settings of the one it replaces go with it."""
    if name is None:
        return
    table = raw.get(family)
    if not isinstance(table, dict) or table.get("use", DEFAULTS[family]) != name:
        raw[family] = {"use": name}


def read_profile(
    profile: Path,
    registry: Registry,
    settings: tuple[str, ...],
    choices: dict[str, str | None],
    extra: dict[tuple[str, str], Any] | None = None,
) -> Profile:
    """A profile with the command line's choices applied: plugins first, then --set, then the other options."""
    raw = read_toml(read_file(profile), str(profile))
    workers = choices.pop("workers", None)
    for family, name in choices.items():
        choose(raw, family, name)
    if workers is not None:
        kind, count = split_workers(workers)
        choose(raw, "workers", kind)
        if count is not None:
            raw.setdefault("workers", {"use": kind})["count"] = count
    override(raw, settings, str(profile))
    for (section, key), value in (extra or {}).items():
        table = raw.setdefault(section, {})
        if isinstance(table, dict):  # what else it is, the check below says
            table[key] = value
    return build_profile(raw, str(profile), profile.parent, registry.settings)


def run(
    profile: Path,
    engine: str | None,
    scheduler: str | None,
    transport: str | None,
    workers: str | None,
    seed: int | None,
    waves: int | None,
    record: Path | None,
    no_record: bool,
    fail_on_fault: bool,
    profile_phases: bool,
    settings: tuple[str, ...],
    as_json: bool,
) -> int:
    """Run a profile. Answers the exit code."""
    if record is not None and no_record:
        raise UserError("--record and --no-record exclude each other")
    registry = Registry()
    choices = {"engine": engine, "scheduler": scheduler, "transport": transport, "workers": workers}
    extra = {
        ("run", "seed"): seed,
        ("run", "waves"): waves,
        ("record", "file"): str(record.resolve()) if record is not None else None,
        ("record", "enabled"): False if no_record else True if record is not None else None,
    }
    given = {key: value for key, value in extra.items() if value is not None}
    checked = read_profile(profile, registry, settings, choices, given)
    progress = make_progress(quiet=as_json)
    with (
        _Interrupts(as_json) as interrupts,
        progress,
        Runtime(checked, registry=registry, observers=[progress]) as runtime,
    ):
        interrupts.watch(runtime)
        began = time.perf_counter()
        try:
            result = runtime.run()
        except KeyboardInterrupt:
            runtime.abandon()  # a worker may be in the middle of a long turn
            raise
        elapsed_s = time.perf_counter() - began
    if progress.lost is not None:
        if not isinstance(progress.lost, BrokenPipeError):
            raise progress.lost
        drop_output()

    def show() -> None:
        progress.summary(result, elapsed_s)
        if profile_phases:
            show_phases(runtime.phases, result)

    emit(_outcome(runtime, result, elapsed_s), as_json, show)
    return EXIT_FAULTS if fail_on_fault and result.faults else EXIT_DONE


class _Interrupts:
    """The first Ctrl-C ends the run after its wave, or before its first one; the second ends it at once."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._asked = False
        self._left = threading.Event()
        self._runtime: Runtime | None = None
        self._before: Any = None

    def __enter__(self) -> _Interrupts:
        self._before = signal.signal(signal.SIGINT, self._handle)
        self._near, self._far = socket.socketpair()
        self._far.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._far.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._watch_signals, name="wavelock-interrupts", daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        signal.signal(signal.SIGINT, self._before)
        self._left.set()
        self._far.close()  # ends the watching thread

    def _watch_signals(self) -> None:
        """End the process at a second interrupt that the main thread does not come to: it may be in a long turn.

        Python runs a handler only between two of its own steps, and an inline turn is none of them.
        """
        count = 0
        with self._near:
            while received := self._near.recv(16):
                count += received.count(signal.SIGINT)
                if count > 1 and not self._left.wait(GRACE_S):
                    self._end_at_once()

    def _end_at_once(self) -> None:
        if self._runtime is not None:
            with suppress(WavelockError):
                self._runtime.abandon()
        report_interrupt(self._as_json)
        sys.stdout.flush()
        os._exit(EXIT_INTERRUPTED)

    def watch(self, runtime: Runtime) -> None:
        """Stop this runtime; it was being assembled until now."""
        self._runtime = runtime
        if self._asked:
            runtime.stop()

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        if self._runtime is not None:
            self._runtime.stop()
        with suppress(OSError, RuntimeError):  # standard error is closed, or was being written to just now
            click.echo("stopping after this wave; again to stop at once", err=True)


def _outcome(runtime: Runtime, result: RunEnded, elapsed_s: float) -> dict[str, Any]:
    started = runtime.started
    return {
        "name": started.name,
        "seed": started.seed,
        "digest": result.digest,
        "waves": result.waves,
        "turns": result.turns,
        "messages": result.messages,
        "fuel": result.fuel,
        "faults": result.faults,
        "fault_list": runtime.faults()[:FAULTS_LISTED],
        "ended": result.ended,
        "elapsed_s": round(elapsed_s, 6),
        "turns_per_s": round(result.turns / elapsed_s, 1) if elapsed_s else 0.0,
        "phases_ns": runtime.phases.ns,
        "agents_made": runtime.phases.made,
        "agent_bytes": runtime.phases.agent_bytes,
        **_chosen(started),
        "run_file": result.run_file,
    }


def show_phases(phases: PhaseTimes, result: RunEnded) -> None:
    """Where the time went, phase by phase, and what agents took, on standard error."""
    whole = sum(phases.ns.values()) or 1
    click.echo(f"{'phase':<8} {'seconds':>9} {'share':>6} {'us a wave':>11} {'ns a turn':>11}", err=True)
    for phase, ns in phases.ns.items():
        a_wave, a_turn = ns / 1e3 / max(result.waves, 1), ns / max(result.turns, 1)
        click.echo(f"{phase:<8} {ns / 1e9:>9.3f} {ns / whole:>6.1%} {a_wave:>11.1f} {a_turn:>11.1f}", err=True)
    cost = cost_of_agents(phases.ns["create"] / max(phases.made, 1), phases.agent_bytes)
    click.echo(f"{phases.made:,} agents made, {cost}", err=True)


def _chosen(started: RunStarted) -> dict[str, Any]:
    """What a run was assembled from, as `run` and `check` report it."""
    return {
        "engine": started.engine,
        "memory_layout": started.memory_layout,
        "scheduler": started.scheduler,
        "transport": started.transport,
        "workers": started.workers,
        "worker_count": started.worker_count,
        "models": started.models,
    }


def check(
    profile: Path,
    engine: str | None,
    scheduler: str | None,
    transport: str | None,
    workers: str | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> int:
    """Check a profile by assembling its run. Answers the exit code."""
    registry = Registry()
    choices = {"engine": engine, "scheduler": scheduler, "transport": transport, "workers": workers}
    checked = read_profile(profile, registry, settings, choices)
    with Runtime(checked, registry=registry, record=False) as runtime:
        started = runtime.started
    values = {
        "ok": True,
        "profile": str(profile),
        "name": started.name,
        "agents": started.agents,
        "groups": [group.name for group in checked.agents],
        **_chosen(started),
    }

    def show() -> None:
        click.echo(
            f"{profile}: ok: {started.agents} agents in {len(checked.agents)} groups; {engine_of(started)}, ", nl=False
        )
        click.echo(f"{started.scheduler}, {started.transport}, {started.workers}:{started.worker_count}")
        for model in started.models:
            click.echo(f"  model {model.name} version {model.version}: {model.got} ({model.reason})")

    emit(values, as_json, show)
    return EXIT_DONE
