"""Outside inputs: files cut in every way, dealt both ways, and held back by full mailboxes."""

from __future__ import annotations

from wavelock.core.abi import Inbound
from wavelock.testing.workloads.agents import agent, frames
from wavelock.testing.workloads.workload import Workload, group, row, table

_LINES = b"".join(b"line %d%s\n" % (number, b"." * (number % 9)) for number in range(40)) + b"\r\nlast, no end"
_JSON = b"".join(b'{"n": %d, "text": "\xc3\xa9%s"}\n\n' % (number, b"x" * number) for number in range(8))
_RECORD_BYTES = 20
_FIXED = bytes(number * 37 & 0xFF for number in range(_RECORD_BYTES * 9))
_FLOOD = b"".join(b"%0100d\n" % number for number in range(150))

_READS = agent(
    frames((Inbound.MESSAGE, "(call $say (i32.load (local.get $frame)) (i64.load offset=16 (local.get $frame)))"))
    + "(call $say_hash)"
)
_SLOWLY = agent("(call $hear) (call $say_hash)")

WORKLOAD = Workload(
    name="inputs",
    summary="input files: lines, JSON, fixed records, whole files, back-pressure",
    profile=table("limits", message=2048)
    + row("inputs", name="lines", files=["lines.txt"], to=["reader", "slow"], per_wave=4)
    + row("inputs", name="json", files=["rows/*.jsonl"], to=["reader"], cut="jsonl", deal="all")
    + row("inputs", name="fixed", files=["fixed.bin"], to=["reader"], cut="fixed", record_bytes=_RECORD_BYTES)
    + row("inputs", name="whole", files=["fixed.bin", "rows/*"], to=["slow"], cut="file", deal="all")
    + row("inputs", name="flood", files=["flood.txt"], to=["slow"], per_wave=60)
    + group("reader", "reader.wat", 3)
    + group("slow", "slow.wat", 2, after=["reader"], limits={"inbox": 1100, "mailbox_frames": 3}),
    files={
        "reader.wat": _READS,
        "slow.wat": _SLOWLY,
        "lines.txt": _LINES,
        "rows/b.jsonl": _JSON,
        "rows/a.jsonl": _JSON[:48],
        "fixed.bin": _FIXED,
        "flood.txt": _FLOOD,
    },
    schedulers={"round-robin": {"width": 2}, "priority": {"width": 2, "aging": 1}},
)
