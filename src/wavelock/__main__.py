"""`python -m wavelock`."""

from wavelock.cli import main

main()
