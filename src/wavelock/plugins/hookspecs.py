"""Every hook of Wavelock. A plugin is a module (or object) in the entry-point group `wavelock` with some of these.

The family hooks answer one `Member`: data about one member of one family. The observer hooks are told what happens and
can change nothing: their arguments are frozen, their answers are ignored, and what they raise is logged and dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wavelock.plugins.markers import hookspec

if TYPE_CHECKING:
    from wavelock.core.events import AgentFault, RunEnded, RunStarted, WaveCommitted
    from wavelock.models.interface import ModelBackend
    from wavelock.plugins.members import Member
    from wavelock.schedulers.interface import Scheduler
    from wavelock.transports.interface import Transport
    from wavelock.wasm_engines.interface import Engine
    from wavelock.workers.interface import Workers


@hookspec
def wavelock_scheduler() -> Member[Scheduler] | None:
    """Offer a scheduler. Called when a registry is built; example: `schedulers/round_robin.py`."""


@hookspec
def wavelock_engine() -> Member[Engine] | None:
    """Offer a WebAssembly engine. Called when a registry is built; example: `wasm_engines/wasmtime_plugin.py`."""


@hookspec
def wavelock_transport() -> Member[Transport] | None:
    """Offer a transport. Called when a registry is built; example: `transports/shared_memory.py`."""


@hookspec
def wavelock_workers() -> Member[Workers] | None:
    """Offer a kind of worker. Called when a registry is built; example: `workers/threads.py`."""


@hookspec
def wavelock_model_backend() -> Member[ModelBackend] | None:
    """Offer an inference backend. Called when a registry is built; example: `models/onnx_plugin.py`."""


@hookspec
def wavelock_run_started(run: RunStarted) -> None:
    """A run was assembled and its first wave is about to be planned. Called once; example: `cli/progress.py`."""


@hookspec
def wavelock_wave_committed(wave: WaveCommitted) -> None:
    """A wave was committed. Called after every wave, in order; example: `cli/progress.py`."""


@hookspec
def wavelock_agent_faulted(fault: AgentFault) -> None:
    """An agent's turn failed. Called after the wave's commit, in plan order; example: `cli/progress.py`."""


@hookspec
def wavelock_run_ended(run: RunEnded) -> None:
    """The run is over and its file closed. Called once; example: `tests/plugins/test_observers.py`."""
