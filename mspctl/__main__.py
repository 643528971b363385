"""`python -m mspctl`."""

from mspctl.cli import main

main()
