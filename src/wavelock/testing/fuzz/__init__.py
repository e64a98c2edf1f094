"""Fuzzing of the deterministic form and of engines: `python -m wavelock.testing.fuzz`, `docs/fuzzing.md`."""
