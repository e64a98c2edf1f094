"""The works with Ray: an actor, which is a process, for each agent, and a method call a turn."""

from __future__ import annotations

import ray

from .mail import Agent, Answer, Waves
from .protocol import Task, read_task, serve


class Actor:
    """One agent."""

    def __init__(self, task: Task, number: int) -> None:
        self._agent = Agent(task, number)

    def turn(self, wave: int, mail: list[bytes]) -> Answer:
        """One turn."""
        return self._agent.turn(wave, mail)


def main() -> None:
    """Make the actors and answer."""
    task = read_task()
    ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    remote = ray.remote(num_cpus=0)(Actor)
    actors = [remote.remote(task, number) for number in range(task.agents)]

    def turns(wave: int, mail: dict[int, list[bytes]]) -> list[Answer]:
        answers: list[Answer] = ray.get([actors[number].turn.remote(wave, given) for number, given in mail.items()])
        return answers

    try:
        serve(task, ["ray"], Waves(task.agents, turns).run)
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
