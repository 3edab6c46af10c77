"""`python -m potato`."""

from potato.cli.main import main

main()
