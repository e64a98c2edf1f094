"""Puppets: agents that do what a test posts and report all they receive. The kernel seen through its own doors.

A puppet appends the payload of every message from the world to its outbox as it stands, and sends every other frame it
receives to the world, whole, tagged with the frame's kind. So a test writes effects as bytes and reads frames as bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import wavelock
from helpers import INBOX, OUTBOX, agent
from wavelock.core.abi import FRAME_HEADER, Inbound, Outbound, frame

PUPPET: Final = agent(f"""(local $in i32) (local $out i32) (local $size i32)
    (local.set $in (i32.const {INBOX + 32}))
    (local.set $out (i32.const {OUTBOX}))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $in) (i32.add (i32.const {INBOX}) (local.get $len))))
      (local.set $size (i32.and (i32.add (i32.load (local.get $in)) (i32.const 7)) (i32.const -8)))
      (if (i32.and (i32.eq (i32.load offset=8 (local.get $in)) (i32.const -1))
                   (i32.eq (i32.load16_u offset=4 (local.get $in)) (i32.const 2)))
        (then ;; a script: its payload is effects
          (memory.copy (local.get $out) (i32.add (local.get $in) (i32.const 16)) (local.get $size))
          (local.set $out (i32.add (local.get $out) (i32.load (local.get $in)))))
        (else ;; a report: the frame as it came
          (i32.store (local.get $out) (i32.add (i32.const 16) (local.get $size)))
          (i32.store offset=4 (local.get $out) (i32.const 1))
          (i32.store offset=8 (local.get $out) (i32.const -1))
          (i32.store offset=12 (local.get $out) (i32.load16_u offset=4 (local.get $in)))
          (memory.copy (i32.add (local.get $out) (i32.const 16)) (local.get $in)
            (i32.add (i32.const 16) (local.get $size)))
          (local.set $out (i32.add (local.get $out) (i32.add (i32.const 32) (local.get $size))))))
      (local.set $in (i32.add (local.get $in) (i32.add (i32.const 16) (local.get $size))))
      (br $next)))
    (i32.sub (local.get $out) (i32.const {OUTBOX}))""")


class Got(NamedTuple):
    """A frame that a puppet received."""

    wave: int
    agent: str
    kind: Inbound
    peer: int
    tag: int
    payload: bytes
    flags: int


def effect(kind: Outbound, peer: int = 0, payload: bytes = b"", tag: int = 0) -> bytes:
    """One effect's frame."""
    return frame(kind, peer, tag, payload)


def put(key: bytes, value: bytes) -> bytes:
    """A put."""
    return effect(Outbound.PUT, payload=len(key).to_bytes(2, "little") + key + value)


def timer(waves: int, tag: int = 0) -> bytes:
    """A timer."""
    return effect(Outbound.TIMER, payload=waves.to_bytes(8, "little"), tag=tag)


class Stage:
    """A run of puppets, started: every puppet has had its first turn."""

    def __init__(self, runtime: wavelock.Runtime) -> None:
        self.runtime = runtime
        self.waves: list[wavelock.WaveCommitted] = []
        self.began: list[Got] = []
        self.began = self.settle()

    def post(self, agent: str, *effects: bytes) -> None:
        """Have a puppet do these effects in its next turn."""
        self.runtime.post(agent, b"".join(effects))

    def wave(self) -> list[Got]:
        """Run one wave; answers what puppets reported in it: what they received."""
        committed = self.runtime.step()
        assert committed is not None, "the run is quiet"
        self.waves.append(committed)
        self.runtime.outputs()
        return [self._got(output) for output in committed.outputs]

    def settle(self) -> list[Got]:
        """Run until quiet."""
        got = []
        while (committed := self.runtime.step()) is not None:
            self.waves.append(committed)
            got += [self._got(output) for output in committed.outputs]
        return got

    def do(self, agent: str, *effects: bytes) -> list[Got]:
        """Post effects and run until quiet."""
        self.post(agent, *effects)
        return self.settle()

    @staticmethod
    def _got(output: wavelock.Output) -> Got:
        length, kind, flags, peer, tag = FRAME_HEADER.unpack_from(output.payload)
        payload = output.payload[16 : 16 + length]
        return Got(output.wave, output.agent, Inbound(kind), peer, tag, payload, flags)

    @property
    def logs(self) -> list[str]:
        """All log lines so far."""
        return [f"{line.agent}: {line.text}" for wave in self.waves for line in wave.logs]


def open_puppets(folder: Path, text: str, **settings: Any) -> wavelock.Runtime:
    """A runtime over a profile whose groups may name the module `puppet.wat`."""
    (folder / "puppet.wat").write_text(PUPPET)
    return wavelock.Runtime(wavelock.parse_profile(text, base=folder), record=False, **settings)
