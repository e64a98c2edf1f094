"""The works with Pykka: an actor, which is a thread, for each agent, and a message and its answer a turn."""

from __future__ import annotations

from typing import Any

import pykka

from .mail import Agent, Answer, Waves
from .protocol import Task, read_task, serve


class Actor(pykka.ThreadingActor):
    """One agent."""

    def __init__(self, task: Task, number: int) -> None:
        super().__init__()
        self._agent = Agent(task, number)

    def on_receive(self, message: Any) -> Any:
        """One turn."""
        return self._agent.turn(*message)


def main() -> None:
    """Make the actors and answer."""
    task = read_task()
    actors = [Actor.start(task, number) for number in range(task.agents)]

    def turns(wave: int, mail: dict[int, list[bytes]]) -> list[Answer]:
        answers = [actors[number].ask((wave, given), block=False) for number, given in mail.items()]
        return list(pykka.get_all(answers))

    try:
        serve(task, ["pykka"], Waves(task.agents, turns).run)
    finally:
        pykka.ActorRegistry.stop_all()


if __name__ == "__main__":
    main()
