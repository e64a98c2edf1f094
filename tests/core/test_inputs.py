"""Input files cut into records, and posts: nothing is lost, the order is fixed, errors name file and record."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavelock.core import inputs
from wavelock.core.errors import InputError, UserError
from wavelock.core.inputs import LiveFeed, cut_records
from wavelock.core.profile import InputSection
from wavelock.core.wave import Input


def section(**keys: Any) -> InputSection:
    return msgspec.convert(
        {"name": "s", "files": ["x"], "to": ["a"]} | keys, InputSection, dec_hook=lambda kind, n: kind(n)
    )


def records_of(tmp_path: Path, data: bytes, max_bytes: int = 100, **keys: Any) -> list[bytes]:
    path = tmp_path / "data"
    path.write_bytes(data)
    return list(cut_records(section(**keys), [path], max_bytes))


Fits = Callable[[int, int, int, int], bool]


def no_limit(agent: int, payload: int, ahead: int, ahead_bytes: int) -> bool:
    return True


class Receivers:
    """Agents whose mailboxes have the room that a test says, and whose inboxes take `room` bytes."""

    def __init__(self, fits: Fits = no_limit, room: int = 1000) -> None:
        self._fits = fits
        self._room = room

    def input_fits(self, agent: int, payload_bytes: int, ahead: int, ahead_bytes: int) -> bool:
        return self._fits(agent, payload_bytes, ahead, ahead_bytes)

    def inbox_room(self, agent: int) -> int:
        return self._room


@pytest.mark.parametrize(
    ("data", "records"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\r\n\r\nb", [b"a", b"", b"b"]),
        (b"\n\n", [b"", b""]),
        (b"a\r\r\n", [b"a\r"]),
        (b"\xff\x00\n", [b"\xff\x00"]),
        (b"x" * 100 + b"\r\n" + b"y" * 100, [b"x" * 100, b"y" * 100]),
    ],
)
def test_lines(tmp_path: Path, data: bytes, records: list[bytes]) -> None:
    assert records_of(tmp_path, data) == records


def test_json_lines_pass_as_they_stand(tmp_path: Path) -> None:
    data = b'{"b": 1,  "a": 2}\n\n[1]\r\n"\xc3\xa9"\n' + b"1" * 5000 + b"\n"
    assert records_of(tmp_path, data, 5000, cut="jsonl") == [b'{"b": 1,  "a": 2}', b"[1]", b'"\xc3\xa9"', b"1" * 5000]


@pytest.mark.parametrize("bad", [b"{", b"x", b"1 2", b"\xff", b"\xff\xfe1\x00", b"[" * 5000])
def test_a_line_that_is_not_json(tmp_path: Path, bad: bytes) -> None:
    with pytest.raises(InputError) as caught:
        records_of(tmp_path, b"1\n" + bad + b"\n", 5000, cut="jsonl")
    assert str(caught.value).startswith(f"inputs.s: {tmp_path / 'data'}: record 2: not JSON: ")


def test_fixed_size(tmp_path: Path) -> None:
    assert records_of(tmp_path, b"abcdef", cut="fixed", record_bytes=2) == [b"ab", b"cd", b"ef"]
    assert records_of(tmp_path, b"", cut="fixed", record_bytes=2) == []


def test_a_last_record_that_is_cut_short(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        records_of(tmp_path, b"abcde", cut="fixed", record_bytes=2)
    assert str(caught.value) == f"inputs.s: {tmp_path / 'data'}: its last record has 1 bytes, expected 2"


def test_whole_files(tmp_path: Path) -> None:
    assert records_of(tmp_path, b"a\nb\n", cut="file") == [b"a\nb\n"]
    assert records_of(tmp_path, b"", cut="file") == [b""]


@pytest.mark.parametrize(
    ("data", "keys", "number", "size"),
    [
        (b"ok\n" + b"x" * 101 + b"\n", {}, 2, 101),
        (b"x" * 101, {"cut": "file"}, 1, 101),
        (b"x" * 4000, {"cut": "file"}, 1, 101),
        (b"x" * 200, {"cut": "fixed", "record_bytes": 200}, 1, 200),
    ],
)
def test_a_record_that_is_too_large(tmp_path: Path, data: bytes, keys: dict[str, Any], number: int, size: int) -> None:
    with pytest.raises(InputError) as caught:
        records_of(tmp_path, data, 100, **keys)
    assert str(caught.value) == (
        f"inputs.s: {tmp_path / 'data'}: record {number}: {size} bytes are more than the receiver's inbox takes (100); "
        "raise its limits.inbox or cut smaller records"
    )


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        list(cut_records(section(), [tmp_path / "gone"], 100))
    assert str(caught.value) == f"inputs.s: {tmp_path / 'gone'}: record 1: No such file or directory"


@given(st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b"")), max_size=10))
def test_lines_written_are_lines_read(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "lines"
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    assert list(cut_records(section(), [path], 20)) == lines


# ---- the feed ----


def numbers(count: int) -> Iterator[bytes]:
    return (b"%d" % number for number in range(count))


def feed_of(records: Iterator[bytes], receivers: list[int], fits: Fits = no_limit, **keys: Any) -> LiveFeed:
    feed = LiveFeed(Receivers(fits))
    feed.add_stream(section(**keys), records, receivers)
    return feed


def test_records_are_dealt_in_turn() -> None:
    feed = feed_of(numbers(5), [7, 8], per_wave=2)
    waves = [[(row.agent, row.payload) for row in feed.take(wave)] for wave in range(4)]
    assert waves == [[(7, b"0"), (8, b"1")], [(7, b"2"), (8, b"3")], [(7, b"4")], []]
    assert not feed.waiting


def test_every_record_to_all() -> None:
    feed = feed_of(numbers(2), [7, 8], deal="all")
    assert feed.take(0) == [Input(7, 0, b"0", "s"), Input(8, 0, b"0", "s")]
    assert feed.waiting


def test_streams_then_posts() -> None:
    feed = feed_of(numbers(1), [1])
    feed.post(2, b"post", 9)
    feed.add_stream(section(name="t"), numbers(1), [3])
    assert feed.take(0) == [Input(1, 0, b"0", "s"), Input(3, 0, b"0", "t"), Input(2, 9, b"post")]


def test_a_record_waits_until_its_receiver_has_room() -> None:
    room = {7: 1, 8: 1}

    def fits(agent: int, payload: int, ahead: int, ahead_bytes: int) -> bool:
        return ahead < room[agent]

    feed = feed_of(numbers(4), [7, 8], fits, per_wave=10)
    assert [row.payload for row in feed.take(0)] == [b"0", b"1"]
    room[7] = 0
    assert feed.take(1) == []
    room[7] = 5
    assert [row.payload for row in feed.take(2)] == [b"2", b"3"]


def test_a_record_that_an_agents_own_buffer_cannot_hold_ends_the_run_by_name() -> None:
    feed = LiveFeed(Receivers(room=2))
    feed.add_stream(section(name="letters", per_wave=5), iter([b"ab", b"abc"]), [7])
    with pytest.raises(InputError, match=r"inputs\.letters: record 2: 3 bytes are more than the inbox"):
        feed.take(0)


def test_all_receivers_or_none() -> None:
    feed = feed_of(numbers(1), [7, 8], lambda agent, size, ahead, ahead_bytes: agent == 7, deal="all")
    assert feed.take(0) == []
    assert feed.waiting


def test_what_was_accepted_before_counts_with_its_bytes() -> None:
    asked: list[tuple[int, int, int, int]] = []

    def fits(*values: int) -> bool:
        asked.append((values[0], values[1], values[2], values[3]))
        return True

    feed = feed_of(iter([b"abc", b"d"]), [7], fits, per_wave=2)
    feed.post(7, b"post", 0)
    feed.take(0)
    assert asked == [(7, 3, 0, 0), (7, 1, 1, 24), (7, 4, 2, 48)]


def test_too_many_posts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_POSTS", 2)
    feed = LiveFeed(Receivers())
    feed.post(0, b"", 0)
    feed.post(0, b"", 0)
    with pytest.raises(UserError, match="2 posted messages wait already; let the run take them first"):
        feed.post(0, b"", 0)
    assert len(feed.take(0)) == 2
    feed.post(0, b"", 0)


def test_posts_from_many_threads_all_arrive_each_threads_in_order() -> None:
    feed = LiveFeed(Receivers())

    def post(agent: int) -> None:
        for number in range(200):
            feed.post(agent, json.dumps(number).encode(), 0)

    threads = [threading.Thread(target=post, args=(agent,)) for agent in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = feed.take(0)
    assert len(taken) == 800
    for agent in range(4):
        assert [int(row.payload) for row in taken if row.agent == agent] == list(range(200))


def test_a_closed_feed_has_nothing_more() -> None:
    feed = feed_of(numbers(5), [1])
    feed.close()
    feed.close()
    assert not feed.waiting
    assert feed.take(0) == []
