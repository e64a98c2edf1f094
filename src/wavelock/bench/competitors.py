"""What Wavelock is measured against: the floor in two configurations, and peers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wavelock.bench.children import Child, LeftOut
from wavelock.bench.environments import environment_python
from wavelock.bench.floor import open_floor
from wavelock.bench.works import WORKS, Job, make_job, write_modules

PEERS: Final = Path(__file__).with_name("peers")
ADAPTER: Final = PEERS / "extism_adapter.wat"
FLOORS: Final = {"floor": False, "pooled-floor": True}
"""Each floor, and whether its memories lie in one pool."""


@dataclass(frozen=True)
class Peer:
    """A program that does the works with something else.

    script: in `peers/`. agents: at most so many are made; what a turn costs is what is compared. modules: whether its
    agents are the same modules; they are Python else. own: whether it runs on this Python, without an environment.
    """

    script: str
    agents: int
    modules: bool = False
    own: bool = False

    def reason_not(self, work: str) -> str | None:
        """Why it does not do a work, or None."""
        if work == "compute" and not self.modules:
            return "its agents are Python: the arithmetic would be all that is measured"
        return None


PEER: Final = {
    "wasmtime-py": Peer("wasmtime_py", 10_000, modules=True, own=True),
    "extism": Peer("extism_plugins", 1_000, modules=True),
    "ray": Peer("ray_actors", 20),
    "pykka": Peer("pykka_actors", 1_000),
    "autogen-core": Peer("autogen_agents", 1_000),
}
"""Every peer, by name."""
AGAINST: Final = (*FLOORS, *PEER)
"""Everything that `--against` takes."""


def open_competitor(name: str, job: Job, folder: Path, told: Callable[[str], None]) -> Child:
    """Start one, its agents made. folder: for its files; must exist. Raises LeftOut where it cannot be measured."""
    if name in FLOORS:
        return open_floor(name, job, assembled(job, folder), folder, FLOORS[name])
    peer = PEER[name]
    if reason := peer.reason_not(job.work):
        raise LeftOut(reason)
    job = make_job(job.work, min(job.agents, peer.agents), job.bytes)
    words = [job.work, str(job.agents), str(job.bytes), *(["--topic"] if job.topic else [])]
    if peer.modules:
        for group, path in zip(job.groups, assembled(job, folder), strict=True):
            words += ["--module", str(path), str(group.count)]
        words += ["--adapter", str(assemble(ADAPTER, folder))]
    if peer.own:
        python = Path(sys.executable)
    else:
        python = environment_python(name, PEERS / f"{peer.script}.txt", told)
    return Child(name, [str(python), "-m", f"peers.{peer.script}", *words], _environment(peer))


def _environment(peer: Peer) -> dict[str, str]:
    """The peer's programs on its path; nothing else of the caller's where it has an environment of its own."""
    path = [str(PEERS.parent)]
    if peer.own and os.environ.get("PYTHONPATH"):
        path.append(os.environ["PYTHONPATH"])
    more = {"PYTHONPATH": os.pathsep.join(path), "PYTHONDONTWRITEBYTECODE": "1"}
    if not peer.own:
        more["PYTHONNOUSERSITE"] = "1"
    return {key: value for key, value in os.environ.items() if key != "PYTHONHOME"} | more


def assembled(job: Job, folder: Path) -> list[Path]:
    """The job's modules in the binary format."""
    return [assemble(path, folder) for path in write_modules(job, folder)]


def assemble(text: Path, folder: Path) -> Path:
    """WebAssembly text in the binary format, beside it under another name."""
    from wavelock.wasm_engines.wasmtime_engine import assemble_text

    path = folder / f"{text.stem}.wasm"
    path.write_bytes(assemble_text(text.read_text(encoding="utf-8"), str(text)))
    return path


def supported(name: str) -> list[str]:
    """The works that one does."""
    return [work for work in WORKS if name in FLOORS or PEER[name].reason_not(work) is None]
