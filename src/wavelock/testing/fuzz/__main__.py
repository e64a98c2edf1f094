"""`python -m wavelock.testing.fuzz`."""

from wavelock.testing.fuzz.command import run

run()
