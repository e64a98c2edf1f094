"""The peers' programs, as far as they go without the frameworks: their agents, their imports, their requirements."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

from wavelock.bench import AGAINST, WORKS
from wavelock.bench.competitors import FLOORS, PEER, PEERS, supported
from wavelock.bench.peers import mail, modules
from wavelock.bench.peers.protocol import Task
from wavelock.bench.works import make_job

BENCH = PEERS.parent
PINNED = r"[\w.-]+==[\w.]+(; python_version (<|>=) \"3\.\d+\")?"
PYTHON_WORKS = sorted(set(WORKS) - {"compute"})


def roots(path: Path) -> set[str]:
    """The packages that a file imports; a relative import is an empty name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("" if node.level else str(node.module).split(".")[0])
    return found


@pytest.mark.parametrize("name", PEER)
def test_a_peer_imports_its_framework_and_nothing_of_wavelock(name: str) -> None:
    foreign = roots(PEERS / f"{PEER[name].script}.py") - set(sys.stdlib_module_names) - {""}
    assert foreign == {{"wasmtime-py": "wasmtime", "autogen-core": "autogen_core"}.get(name, name)}


@pytest.mark.parametrize("name", ["mail", "modules", "protocol"])
def test_what_peers_share_needs_nothing(name: str) -> None:
    assert roots(PEERS / f"{name}.py") - set(sys.stdlib_module_names) - {""} == set()


@pytest.mark.parametrize("name", [name for name in PEER if not PEER[name].own])
def test_requirements_are_pinned(name: str) -> None:
    lines = (PEERS / f"{PEER[name].script}.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(PINNED, line)] == []
    assert any(line.startswith(f"{name}==") for line in lines)


def test_no_file_hides_a_module_of_the_standard_library() -> None:
    """The folder is on the path of peers."""
    assert [path for path in BENCH.glob("*.py") if path.stem in sys.stdlib_module_names] == []


def test_who_does_what() -> None:
    assert set(AGAINST) == {*FLOORS, *PEER}
    assert supported("floor") == supported("extism") == list(WORKS)
    assert supported("ray") == [work for work in WORKS if work != "compute"]


@pytest.mark.parametrize("work", PYTHON_WORKS)
@pytest.mark.parametrize("size", [16, 200])
def test_agents_in_python_do_the_same_work(work: str, size: int) -> None:
    job = make_job(work, 50, size)
    agents = [mail.Agent(Task(work, 50, size, job.topic), number) for number in range(50)]

    def turns(wave: int, given: dict[int, list[bytes]]) -> list[mail.Answer]:
        assert all(len(message) == size for messages in given.values() for message in messages)
        return [agents[number].turn(wave, messages) for number, messages in given.items()]

    waves = mail.Waves(50, turns)
    assert waves.run(2)[0] >= 50
    done, messages = waves.run(20)
    assert messages == 20 * job.messages
    assert done == 20 * job.turns if job.turns is not None else 500 < done < 800
    seen = [agent._seen for agent in agents]
    assert sum(seen) > 0
    if work == "ring":
        assert seen[0] == sum(range(50, 29, -1)), "the first words of 21 agents before it"
    if work == "all-to-one":
        assert seen == [21 * sum(range(2, 51)), *[0] * 49]


def test_the_frames_of_modules() -> None:
    """A send, a publication and a yield, from agents that are functions."""
    inboxes: list[tuple[int, bytes]] = []

    def call(number: int, inbox: bytes) -> bytes:
        inboxes.append((number, inbox))
        send = modules.FRAME.pack(5, modules.SEND, 0, 2, 9) + b"hello\0\0\0"
        publish = modules.FRAME.pack(8, modules.PUBLISH, 0, 0, 0) + b"everyone"
        sleepless = modules.FRAME.pack(0, modules.YIELD, 0, 0, 0)
        return {0: send, 1: publish if len(inboxes) < 4 else b"", 2: sleepless}[number]

    waves = modules.Waves(3, 3, call)
    assert waves.run(1) == (3, 1 + 3)
    assert waves.run(1) == (3, 1)
    wave, time, _, number, frames = modules.HEADER.unpack_from(inboxes[5][1])
    assert (wave, time, number, frames) == (modules.FIRST_WAVE + 1, 0, 2, 2)
    hello = modules.FRAME.pack(5, modules.MESSAGE, 0, 0, 9) + b"hello\0\0\0"
    assert inboxes[5][1][32:] == hello + modules.FRAME.pack(8, modules.MESSAGE, 0, 1, 0) + b"everyone"
    assert waves.run(1) == (1, 0), "agent 2 has mail and yielded; the others have nothing"


def test_peers_that_are_packages_are_there() -> None:
    for peer in PEER.values():
        assert (PEERS / f"{peer.script}.py").exists()
    assert importlib.import_module("wavelock.bench.peers.wasmtime_py").Agents
