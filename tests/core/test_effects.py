"""What every effect does, and what it answers when it cannot be done."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from puppets import Got, Stage, effect, put, timer
from wavelock.core.abi import WORLD, Inbound, Outbound, Reason

OpenStage = Callable[[str], Stage]

PLAIN = """
[[agents]]
name = "a"
module = "puppet.wat"
count = 3
"""


def reasons(got: list[Got]) -> list[tuple[str, int, int, int, int]]:
    """(agent, the effect's kind, its peer, its tag, the reason) of every effect that came back."""
    return [
        (one.agent, one.flags, one.peer, one.tag, int.from_bytes(one.payload, "little"))
        for one in got
        if one.kind is Inbound.UNDELIVERABLE
    ]


def received(got: list[Got], kind: Inbound) -> list[tuple[str, int, int, bytes]]:
    return [(one.agent, one.peer, one.tag, one.payload) for one in got if one.kind is kind]


def send(to: int, payload: bytes = b"", tag: int = 0) -> bytes:
    return effect(Outbound.SEND, to, payload, tag)


def test_an_agent_starts_with_its_configuration_and_the_directory(stage: OpenStage) -> None:
    began = stage(
        """
        [[topics]]
        name = "news"
        [[agents]]
        name = "a"
        module = "puppet.wat"
        count = 2
        config = { z = 1, a = "é" }
        grants = { spawn = ["t"] }
        [[agents]]
        name = "t"
        module = "puppet.wat"
        count = 0
        """
    ).began
    assert [(one.agent, one.kind.name) for one in began] == [
        ("a/0", "START"), ("a/0", "DIRECTORY"), ("a/1", "START"), ("a/1", "DIRECTORY"),
    ]  # fmt: skip
    assert began[0].payload == '{"a":"é","z":1}'.encode()
    assert began[1].payload == (
        b"\1\0\1\0" b"\0\0\0\0" b"\2\0\0\0" b"a\0\0\0"  # group a: ids from 0, two of them
        b"\1\0\1\0" b"\2\0\0\0" b"\0\0\0\0" b"t\0\0\0"  # group t: none yet
        b"\2\0\4\0" b"\0\0\0\0" b"\1\0\0\0" b"news"
        b"\4\0\1\0" b"\1\0\0\0" b"\1\0\0\0" b"t\0\0\0"  # module: what may be spawned
    )  # fmt: skip


def test_a_message_arrives_in_the_next_wave_with_its_sender_and_tag(stage: OpenStage) -> None:
    play = stage(PLAIN)
    play.post("a/0", send(2, b"hello", tag=9))
    assert play.wave() == []
    (got,) = play.wave()
    assert got == Got(2, "a/2", Inbound.MESSAGE, 0, 9, b"hello", 0)
    assert play.settle() == []


def test_messages_meet_in_plan_order_and_in_the_order_a_sender_wrote_them(stage: OpenStage) -> None:
    play = stage(PLAIN)
    for name in ("a/2", "a/0", "a/1"):  # posted in another order than agents' ids
        play.post(name, send(1, name.encode() + b" first"), send(1, name.encode() + b" second"))
    got = [payload for _, _, _, payload in received(play.settle(), Inbound.MESSAGE)]
    assert got == [f"a/{sender} {which}".encode() for sender in range(3) for which in ("first", "second")]


def test_a_message_to_itself_and_to_the_world(stage: OpenStage) -> None:
    play = stage(PLAIN)
    assert received(play.do("a/1", send(1, b"me")), Inbound.MESSAGE) == [("a/1", 1, 0, b"me")]
    play.post("a/1", send(WORLD, bytes(16) + b"out", tag=5))
    committed = play.runtime.step()
    assert committed is not None
    (output,) = committed.outputs
    assert (output.agent, output.tag, output.payload[16:]) == ("a/1", 5, b"out")


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (send(3, b"x", tag=4), Reason.NO_SUCH_AGENT),
        (send(WORLD - 1, b"x", tag=4), Reason.NO_SUCH_AGENT),
        (effect(Outbound.PUBLISH, 0, b"x", 4), Reason.NO_SUCH_ID),
        (effect(Outbound.INFER, 0, b"x", 4), Reason.NO_SUCH_ID),
        (effect(Outbound.SPAWN, 1, b"x", 4), Reason.NO_SUCH_ID),
        (effect(Outbound.SPAWN, 0, b"x", 4), Reason.DENIED),
        (effect(Outbound.GET, 0, b"key", 4), Reason.DENIED),
        (effect(Outbound.WATCH, 0, b"key", 4), Reason.DENIED),
        (effect(Outbound.STOP, 1, b"", 4), Reason.DENIED),
        (effect(Outbound.STOP, 0, b"", 4), Reason.DENIED),
    ],
    ids=str,
)
def test_what_cannot_be_done_comes_back_to_the_sender_alone(stage: OpenStage, written: bytes, reason: Reason) -> None:
    play = stage(PLAIN)
    kind, peer = written[4], int.from_bytes(written[8:12], "little")
    got = play.do("a/1", written)
    assert reasons(got) == [("a/1", kind, peer, 4, reason)]
    assert len(got) == 1
    denied = [line for line in play.logs if "denied" in line]
    assert len(denied) == (reason is Reason.DENIED)


def test_a_put_without_a_grant_is_denied_answered_and_logged(stage: OpenStage) -> None:
    play = stage(PLAIN)
    assert reasons(play.do("a/0", put(b"key", b"v"))) == [("a/0", Outbound.PUT, 0, 0, Reason.DENIED)]
    assert play.logs == ["a/0: denied: put of key b'key'"]
    assert play.runtime.state() == {}


def test_a_denied_effect_can_be_a_fault_and_then_nothing_of_the_turn_happens(stage: OpenStage) -> None:
    play = stage(PLAIN + 'limits = { denied = "fault" }')
    got = play.do("a/0", send(1, b"not sent"), put(b"key", b"v"))
    assert got == []
    assert play.do("a/1", effect(Outbound.STOP, 2)) == []
    assert [(fault.agent, fault.kind) for fault in play.runtime.faults()] == [("a/0", "denied"), ("a/1", "denied")]
    unknown = play.do("a/2", effect(Outbound.PUBLISH, 0), effect(Outbound.INFER, 0), effect(Outbound.SPAWN, 9))
    assert [reason for *_, reason in reasons(unknown)] == [Reason.NO_SUCH_ID] * 3


def test_a_message_larger_than_its_receiver_takes_is_refused(stage: OpenStage) -> None:
    play = stage(
        """
        [[agents]]
        name = "big"
        module = "puppet.wat"
        [[agents]]
        name = "small"
        module = "puppet.wat"
        limits = { inbox = 256 }
        """
    )
    fits = send(1, bytes(256 - 32 - 16), tag=1)
    over = send(1, bytes(256 - 32 - 16 + 1), tag=2)
    assert len(received(play.do("big", fits), Inbound.MESSAGE)) == 1
    assert reasons(play.do("big", over)) == [("big/0", Outbound.SEND, 1, 2, Reason.TOO_LARGE)]


def test_limits_message_bounds_what_is_sent(stage: OpenStage) -> None:
    play = stage(
        """
        [[agents]]
        name = "a"
        module = "puppet.wat"
        limits = { message = 64 }
        [[agents]]
        name = "b"
        module = "puppet.wat"
        """
    )
    got = play.do("a", send(1, bytes(64)), send(1, bytes(65), tag=3))
    assert len(received(got, Inbound.MESSAGE)) == 1
    assert reasons(got) == [("a/0", Outbound.SEND, 1, 3, Reason.TOO_LARGE)]


def test_what_does_not_fit_an_inbox_waits_in_order(stage: OpenStage) -> None:
    play = stage(
        """
        [[agents]]
        name = "a"
        module = "puppet.wat"
        [[agents]]
        name = "narrow"
        module = "puppet.wat"
        limits = { inbox = 256 }
        """
    )
    play.post("a", *(send(1, bytes([number] * 64)) for number in range(4)))
    play.wave()
    waves = [[payload[0] for *_, payload in received(play.wave(), Inbound.MESSAGE)] for _ in range(2)]
    assert waves == [[0, 1], [2, 3]]
    assert play.settle() == []


MAILBOX = PLAIN + "limits = { mailbox_frames = 4, overflow = %r }"


def test_a_full_mailbox_rejects_and_tells_the_sender(stage: OpenStage) -> None:
    play = stage(MAILBOX % "reject")
    got = play.do("a/0", *(send(1, b"%d" % number, tag=number) for number in range(6)))
    assert [payload for *_, payload in received(got, Inbound.MESSAGE)] == [b"0", b"1", b"2", b"3"]
    assert reasons(got) == [("a/0", Outbound.SEND, 1, tag, Reason.MAILBOX_FULL) for tag in (4, 5)]


def test_a_full_mailbox_can_drop_its_oldest_frames(stage: OpenStage) -> None:
    play = stage(MAILBOX % "drop-oldest")
    got = play.do("a/0", *(send(1, b"%d" % number) for number in range(6)))
    assert [payload for *_, payload in received(got, Inbound.MESSAGE)] == [b"2", b"3", b"4", b"5"]
    assert play.logs == ["a/1: lost its oldest frames, its mailbox being full"]


def test_answers_obey_the_mailbox_as_well(stage: OpenStage) -> None:
    play = stage(MAILBOX % "reject")
    got = play.do("a/0", *(send(99, tag=number) for number in range(6)))
    assert [tag for *_, tag, _ in reasons(got)] == [0, 1, 2, 3]
    assert play.logs == ["a/0: lost one undeliverable frame, its mailbox being full"]


def test_a_frame_that_no_mailbox_takes_drops_nothing(stage: OpenStage) -> None:
    narrow = '[[agents]]\nname = "n"\nmodule = "puppet.wat"\nlimits = { mailbox = 640, overflow = "drop-oldest" }\n'
    play = stage(narrow + '[[agents]]\nname = "a"\nmodule = "puppet.wat"\n')
    got = play.do("a", send(0, b"kept"), send(0, bytes(640), 5))
    assert received(got, Inbound.MESSAGE) == [("n/0", 1, 0, b"kept")]
    assert reasons(got) == [("a/0", Outbound.SEND, 0, 5, Reason.MAILBOX_FULL)]


def test_an_answer_that_no_inbox_takes_says_which_effect_it_answers(stage: OpenStage) -> None:
    play = stage(
        """
        [[agents]]
        name = "a"
        module = "puppet.wat"
        grants = { state = ["*"] }
        [[agents]]
        name = "narrow"
        module = "puppet.wat"
        grants = { state = ["*"] }
        limits = { inbox = 128 }
        """
    )
    play.do("narrow", effect(Outbound.WATCH, 0, b"k", 3))
    assert reasons(play.do("a", put(b"key", bytes(200)))) == [("narrow/0", Outbound.WATCH, 0, 3, Reason.TOO_LARGE)]
    assert reasons(play.do("narrow", get(b"key", 4))) == [("narrow/0", Outbound.GET, 0, 4, Reason.TOO_LARGE)]


TOPICS = """
[[topics]]
name = "silent"
[[topics]]
name = "news"
subscribers = ["b", "a"]
[[agents]]
name = "a"
module = "puppet.wat"
count = 2
grants = { topics = ["news"] }
[[agents]]
name = "b"
module = "puppet.wat"
"""


def test_a_publication_reaches_every_subscriber_in_order_with_its_topic(stage: OpenStage) -> None:
    play = stage(TOPICS)
    got = play.do("a/1", effect(Outbound.PUBLISH, 1, b"n", 3))
    assert got == [Got(2, name, Inbound.MESSAGE, 1, 3, b"n", 2) for name in ("a/0", "a/1", "b/0")]
    assert reasons(play.do("a/1", effect(Outbound.PUBLISH, 0, b"n"))) == [("a/1", 2, 0, 0, Reason.DENIED)]


STATE = """
[limits]
state = 64
state_key = 8
[[agents]]
name = "a"
module = "puppet.wat"
count = 2
grants = { state = ["k/"] }
[[agents]]
name = "r"
module = "puppet.wat"
grants = { state_read = ["*"] }
limits = { watches = 1 }
"""


def get(key: bytes, tag: int = 0) -> bytes:
    return effect(Outbound.GET, 0, key, tag)


def test_gets_see_the_puts_before_them_in_plan_order(stage: OpenStage) -> None:
    play = stage(STATE)
    play.post("a/0", get(b"k/x", 1), put(b"k/x", b"zero"), get(b"k/x", 2))
    play.post("a/1", get(b"k/x", 3), put(b"k/x", b"one"))
    play.post("r", get(b"k/x", 4), get(b"other", 5))
    got = [(one.tag, one.payload, one.flags) for one in play.settle()]
    assert got == [(1, b"", 1), (2, b"zero", 0), (3, b"zero", 0), (4, b"one", 0), (5, b"", 1)]
    assert play.runtime.state() == {b"k/x": b"one"}


def test_state_is_bounded_and_prefixes_hold(stage: OpenStage) -> None:
    play = stage(STATE)
    long_key, large_value = put(b"k/1234567", b""), put(b"k/", bytes(63))
    assert [reason for *_, reason in reasons(play.do("a/0", long_key, large_value))] == [Reason.LIMIT] * 2
    assert reasons(play.do("r", put(b"k/x", b"")))[0][-1] == Reason.DENIED
    assert reasons(play.do("a/0", get(b"k")))[0][-1] == Reason.DENIED
    play.do("a/0", put(b"k/", bytes(62)), put(b"k/", b"small"), put(b"k/2", bytes(54)))
    assert {key: len(value) for key, value in play.runtime.state().items()} == {b"k/": 5, b"k/2": 54}


def test_watches_tell_of_every_put_under_a_prefix(stage: OpenStage) -> None:
    play = stage(STATE)
    play.do("r", effect(Outbound.WATCH, 0, b"k/a", 7))
    assert reasons(play.do("r", effect(Outbound.WATCH, 0, b"more", 8)))[0][3:] == (8, Reason.LIMIT)
    got = play.do("a/0", put(b"k/a1", b"x"), put(b"k/b", b"y"), put(b"k/a", b"z"))
    assert [(one.agent, one.tag, one.flags, one.payload) for one in got] == [
        ("r/0", 7, 2, b"\4\0k/a1x"), ("r/0", 7, 2, b"\3\0k/az"),
    ]  # fmt: skip


def test_a_watched_prefix_is_as_short_as_a_key(stage: OpenStage) -> None:
    play = stage(STATE)
    assert reasons(play.do("r", effect(Outbound.WATCH, 0, b"123456789")))[0][-1] == Reason.LIMIT
    assert reasons(play.do("r", effect(Outbound.WATCH, 0, b"12345678"))) == []


def test_what_was_denied_is_cut_in_the_log(stage: OpenStage) -> None:
    play = stage(PLAIN)
    play.do("a/0", get(b"\xff" * 500))
    assert play.logs == [f"a/0: denied: get of key {bytes([255] * 32)!r}... of 500 bytes"]


def test_timers_come_after_messages_by_agent_and_runs_jump_to_them(stage: OpenStage) -> None:
    play = stage(PLAIN)
    play.post("a/2", timer(5, 1), timer(5, 2), timer(0, 3))
    play.post("a/1", timer(5, 4))
    got = play.settle()
    assert [(one.wave, one.agent, one.tag) for one in got] == [
        (2, "a/2", 3), (6, "a/1", 4), (6, "a/2", 1), (6, "a/2", 2),
    ]  # fmt: skip
    assert [wave.wave for wave in play.waves] == [0, 1, 2, 6]
    play.post("a/2", timer(2**62 - 7), timer(2**62 - 6, 8))  # to the last wave there is, and past it
    play.wave()
    assert reasons(play.wave()) == [("a/2", Outbound.TIMER, 0, 8, Reason.LIMIT)]
    assert play.wave() == [Got(2**62, "a/2", Inbound.TIMER, 0, 0, b"", 0)]
    assert reasons(play.do("a/2", timer(1))) == [("a/2", Outbound.TIMER, 0, 0, Reason.LIMIT)]


def test_timers_of_the_ended_are_forgotten_and_keep_no_run_alive(stage: OpenStage) -> None:
    play = stage(PLAIN)
    play.do("a/0", *(timer(1000, number) for number in range(100)), effect(Outbound.EXIT, 0, bytes(4)))
    assert play.waves[-1].wave == 1
    assert play.runtime._kernel.effects.timers.rows() == []
    play.do("a/1", timer(9), effect(Outbound.EXIT, 0, bytes(4)))
    play.post("a/2", timer(5, 8))
    assert [(one.wave, one.tag) for one in play.settle()] == [(8, 8)]


def test_timers_are_bounded(stage: OpenStage) -> None:
    play = stage(PLAIN + "limits = { timers = 1 }")
    assert reasons(play.do("a/0", timer(3), timer(3, 6))) == [("a/0", Outbound.TIMER, 0, 6, Reason.LIMIT)]
    assert reasons(play.do("a/0", timer(3))) == []


def test_yield_makes_ready_without_a_message(stage: OpenStage) -> None:
    play = stage(PLAIN)
    play.post("a/1", effect(Outbound.YIELD))
    play.settle()
    assert [wave.turns for wave in play.waves] == [3, 1, 1]


def test_logs_keep_their_level_and_take_any_bytes(stage: OpenStage) -> None:
    play = stage(PLAIN)
    play.do("a/1", effect(Outbound.LOG, 4, b"tr\xffce"), effect(Outbound.LOG, 0, b"bad"))
    assert [(line.agent, line.level, line.text) for line in play.waves[-1].logs] == [
        ("a/1", 4, "tr�ce"), ("a/1", 0, "bad"),
    ]  # fmt: skip


def test_an_exit_comes_last_and_messages_to_the_ended_come_back(stage: OpenStage) -> None:
    play = stage(PLAIN)
    got = play.do("a/0", effect(Outbound.EXIT, 0, b"\7\0\0\0"), send(1, b"bye"))
    assert received(got, Inbound.MESSAGE) == [("a/1", 0, 0, b"bye")]
    assert play.waves[-1].live == 2
    assert reasons(play.do("a/1", send(0))) == [("a/1", Outbound.SEND, 0, 0, Reason.AGENT_ENDED)]
    play.do("a/1", effect(Outbound.EXIT, 0, bytes(4)))
    play.do("a/2", effect(Outbound.EXIT, 0, bytes(4)))
    assert play.runtime.result.ended == "exited"


SPAWN = """
[limits]
agents = 6
spawn_depth = 2
[[agents]]
name = "root"
module = "puppet.wat"
grants = { spawn = ["child"] }
[[agents]]
name = "child"
module = "puppet.wat"
count = 0
config = "as the profile says"
grants = { spawn = ["child"] }
"""


def spawn(tag: int = 0, config: bytes = b"") -> bytes:
    return effect(Outbound.SPAWN, 1, config, tag)


def test_a_spawn_is_answered_with_the_child_and_the_child_starts(stage: OpenStage) -> None:
    play = stage(SPAWN)
    got = play.do("root", spawn(5), spawn(6, b"mine"))
    answers = received(got, Inbound.DIRECTORY)
    assert answers[0] == ("root/0", 0, 5, b"\5\0\7\0\1\0\0\0\1\0\0\0child/0\0")
    assert answers[1] == ("root/0", 0, 6, b"\5\0\7\0\2\0\0\0\1\0\0\0child/1\0")
    assert received(got, Inbound.START) == [("child/0", 0, 0, b"as the profile says"), ("child/1", 0, 0, b"mine")]


def test_spawns_are_bounded_in_number_and_depth(stage: OpenStage) -> None:
    play = stage(SPAWN)
    play.do("root", spawn())
    play.do("child/0", spawn())
    assert reasons(play.do("child/1", spawn(3)))[0][3:] == (3, Reason.LIMIT)  # a third generation
    got = play.do("root", *(spawn(number) for number in range(5)))
    assert [(tag, reason) for *_, tag, reason in reasons(got)] == [(3, Reason.LIMIT), (4, Reason.LIMIT)]
    assert play.waves[-1].live == 6


def test_a_parent_hears_how_its_children_ended(stage: OpenStage) -> None:
    play = stage(SPAWN)
    play.do("root", spawn(5), spawn(6), spawn(7))
    play.post("child/0", effect(Outbound.EXIT, 0, bytes(4)))
    play.post("child/1", b"no frame at all!")
    got = play.settle()
    assert received(got, Inbound.CHILD_ENDED) == [("root/0", 1, 5, b"\1\0\0\0"), ("root/0", 2, 6, b"\2\0\0\0")]
    stopped = play.do("root", effect(Outbound.STOP, 3), effect(Outbound.STOP, 3, tag=2))
    assert received(stopped, Inbound.CHILD_ENDED) == [("root/0", 3, 7, b"\3\0\0\0")]
    assert reasons(stopped) == [("root/0", Outbound.STOP, 3, 2, Reason.AGENT_ENDED)]


def test_a_stop_takes_the_whole_subtree_and_what_it_did_in_that_wave(stage: OpenStage) -> None:
    play = stage(SPAWN)
    play.do("root", spawn())
    play.do("child/0", spawn())
    play.post("root", effect(Outbound.STOP, 1))
    play.post("child/1", send(0, b"too late"))
    got = play.settle()
    assert received(got, Inbound.MESSAGE) == []
    assert play.waves[-1].live == 1


def test_children_of_an_agent_that_exits_go_on(stage: OpenStage) -> None:
    play = stage(SPAWN)
    play.do("root", spawn())
    play.do("child/0", spawn())
    play.do("child/0", effect(Outbound.EXIT, 0, bytes(4)))
    assert received(play.do("child/1", send(2, b"still here")), Inbound.MESSAGE) == [("child/1", 2, 0, b"still here")]


RESTART = """
[[agents]]
name = "a"
module = "puppet.wat"
count = 2
restart = "fresh"
limits = { restarts = 2 }
grants = { state = ["*"] }
"""


def test_a_fresh_start_keeps_mail_and_forgets_timers_and_watches(stage: OpenStage) -> None:
    play = stage(RESTART)
    play.do("a/0", effect(Outbound.WATCH, 0, b""))
    play.post("a/0", timer(9), timer(9))
    play.wave()
    play.post("a/0", b"not a frame, 8 bytes at a time..")
    play.post("a/1", send(0, b"kept"), put(b"x", b"y"))
    got = play.settle()
    assert [(one.agent, one.kind.name) for one in got] == [
        ("a/0", "START"), ("a/0", "DIRECTORY"), ("a/0", "MESSAGE"),
    ]  # fmt: skip
    assert [fault.kind for fault in play.runtime.faults()] == ["malformed outbox"]


def test_a_spawned_agent_restarts_with_its_own_configuration(stage: OpenStage) -> None:
    play = stage(SPAWN + 'restart = "fresh"\n')
    play.do("root", spawn(0, b"mine"))
    assert received(play.do("child/0", b"12345678"), Inbound.START) == [("child/0", 0, 0, b"mine")]


def test_restarts_are_bounded(stage: OpenStage) -> None:
    play = stage(RESTART)
    for _ in range(3):
        play.do("a/1", b"12345678")
    assert len(play.runtime.faults()) == 3
    assert play.waves[-1].live == 1
