"""Programs that do the same works with other frameworks, each run by the Python of an environment of its own.

They import nothing of Wavelock, which is not there, and each other with relative imports alone: `python -m peers.NAME`
runs them, with the folder above this one on the path.
"""
