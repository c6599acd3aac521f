"""`python -m gx10.cli`, which is `gx10`."""

from . import main

main(prog_name="gx10")
