"""``python -m mcdrop`` is the command line."""

from mcdrop.cli import main

main()
