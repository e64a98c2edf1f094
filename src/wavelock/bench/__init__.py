"""What a turn and its message cost, measured against the least they can cost and against other frameworks.

`wavelock bench` is the command; `docs/benchmarks.md` says what is measured. Rules:

- All that is compared runs on the same machine in the same minutes: round by round, each for about as long.
- What is not Wavelock runs in processes of its own, which count for themselves what they did. Who does other work than
  asked is left out, with the reason, never reported.
- Peers have environments of their own; nothing of theirs is imported here, and nothing of Wavelock there.
"""

from wavelock.bench.competitors import AGAINST
from wavelock.bench.measure import Options, measure
from wavelock.bench.works import WORKS

__all__ = ["AGAINST", "Options", "WORKS", "measure"]
