"""Agents as WebAssembly text, and profiles around them. Importable in every test as `helpers`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from wavelock.core.abi import WORLD, Inbound, Outbound, frame

INBOX: Final = 8192
INBOX_BYTES: Final = 16384
OUTBOX: Final = 32768
OUTBOX_BYTES: Final = 16384
_MODULE: Final = """(module
  (memory (export "memory") 1)
  (data (i32.const 1024) "{record}")
  {data}
  (func (export "wavelock_abi") (result i32) (i32.const 1024))
  (func (export "wavelock_turn") (param $len i32) (result i32) {turn}))
"""


def escaped(data: bytes) -> str:
    """Bytes as the inside of a string in WebAssembly text."""
    return "".join(f"\\{byte:02x}" for byte in data)


def agent(turn: str, data: str = "") -> str:
    """An agent around the body of its turn, with the inbox at INBOX and the outbox at OUTBOX."""
    numbers = (1, INBOX, INBOX_BYTES, OUTBOX, OUTBOX_BYTES)
    record = b"".join(number.to_bytes(4, "little") for number in numbers)
    return _MODULE.format(record=escaped(record), data=data, turn=turn)


def same_each_turn(*frames: bytes) -> str:
    """An agent that answers the same frames in every turn."""
    outbox = b"".join(frames)
    return agent(f"(i32.const {len(outbox)})", f'(data (i32.const {OUTBOX}) "{escaped(outbox)}")')


def says(text: str) -> bytes:
    """The frame of a line to the world outside."""
    return frame(Outbound.SEND, WORLD, 0, text.encode())


def yields() -> bytes:
    """The frame that asks for another turn in the next wave."""
    return frame(Outbound.YIELD, 0, 0, b"")


def puts(key: str, value: str) -> bytes:
    """The frame that writes a key of the state."""
    return frame(Outbound.PUT, 0, 0, len(key).to_bytes(2, "little") + key.encode() + value.encode())


def exits(code: int = 0) -> bytes:
    """The frame that ends the agent."""
    return frame(Outbound.EXIT, 0, 0, code.to_bytes(4, "little", signed=True))


def echoes(kind: int = Inbound.MESSAGE) -> str:
    """An agent that sends the payload of every frame of a kind to the world outside, with its tag."""
    return agent(f"""(local $in i32) (local $out i32) (local $size i32)
    (local.set $in (i32.const {INBOX + 32}))
    (local.set $out (i32.const {OUTBOX}))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $in) (i32.add (i32.const {INBOX}) (local.get $len))))
      (local.set $size
        (i32.add (i32.const 16) (i32.and (i32.add (i32.load (local.get $in)) (i32.const 7)) (i32.const -8))))
      (if (i32.eq (i32.load16_u offset=4 (local.get $in)) (i32.const {kind})) (then
        (memory.copy (local.get $out) (local.get $in) (local.get $size))
        (i32.store offset=4 (local.get $out) (i32.const {Outbound.SEND.value}))
        (i32.store offset=8 (local.get $out) (i32.const -1))
        (local.set $out (i32.add (local.get $out) (local.get $size)))))
      (local.set $in (i32.add (local.get $in) (local.get $size)))
      (br $next)))
    (i32.sub (local.get $out) (i32.const {OUTBOX}))""")


QUIET: Final = agent("(i32.const 0)")
TRAPS: Final = agent("(unreachable)")
HELLO: Final = same_each_turn(says("hello"))
TICKS: Final = same_each_turn(says("tick"), yields())
"""Says `tick` in every wave, for ever."""


def write_profile(folder: Path, text: str = "", **modules: str) -> Path:
    """Write a profile and its modules: a group for each, of that name, after the text. Answers the profile's path."""
    for name, source in modules.items():
        (folder / f"{name}.wat").write_text(source)
        text += f'\n[[agents]]\nname = "{name}"\nmodule = "{name}.wat"\n'
    path = folder / "profile.toml"
    path.write_text(text)
    return path
