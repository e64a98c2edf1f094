"""The works with autogen-core: routed agents on the single-threaded runtime, and a sent message a turn."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from autogen_core import AgentId, MessageContext, RoutedAgent, SingleThreadedAgentRuntime, message_handler

from .mail import Agent, Answer, Waves
from .protocol import Task, read_task, serve

TEXT = "latin-1"


@dataclass
class Turn:
    """What an agent is sent for a turn. The runtime writes messages as JSON for its log: they are text."""

    wave: int
    mail: list[str]


@dataclass
class Turned:
    """What it answers."""

    sent: list[tuple[int, str]]
    again: bool


class Routed(RoutedAgent):
    """One agent; its key is its number."""

    def __init__(self, task: Task) -> None:
        super().__init__("an agent of the work")
        self._agent = Agent(task, int(self.id.key))

    @message_handler
    async def turn(self, message: Turn, ctx: MessageContext) -> Turned:
        """One turn."""
        sent, again = self._agent.turn(message.wave, [text.encode(TEXT) for text in message.mail])
        return Turned([(to, payload.decode(TEXT)) for to, payload in sent], again)


async def start(task: Task) -> SingleThreadedAgentRuntime:
    """A runtime that makes agents as they are first sent something."""
    runtime = SingleThreadedAgentRuntime()
    await Routed.register(runtime, "agent", lambda: Routed(task))
    runtime.start()
    return runtime


def main() -> None:
    """Start the runtime and answer."""
    task = read_task()
    loop = asyncio.new_event_loop()
    runtime = loop.run_until_complete(start(task))
    names = [AgentId("agent", str(number)) for number in range(task.agents)]

    async def wave_of(wave: int, mail: dict[int, list[bytes]]) -> list[Answer]:
        asked = []
        for number, given in mail.items():
            turn = Turn(wave, [payload.decode(TEXT) for payload in given])
            asked.append(runtime.send_message(turn, names[number]))
        answers = await asyncio.gather(*asked)
        return [Answer([(to, text.encode(TEXT)) for to, text in each.sent], each.again) for each in answers]

    def turns(wave: int, mail: dict[int, list[bytes]]) -> list[Answer]:
        return loop.run_until_complete(wave_of(wave, mail))

    try:
        serve(task, ["autogen-core"], Waves(task.agents, turns).run)
    finally:
        loop.run_until_complete(runtime.stop())


if __name__ == "__main__":
    main()
