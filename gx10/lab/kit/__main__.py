"""`python -m gx10.lab.kit` makes the lab's kit without a lab; `… lock` locks its requirements anew."""

from __future__ import annotations

import sys

from gx10.lab.errors import LabError
from gx10.lab.kit import prepare
from gx10.lab.kit.lock import lock
from gx10.lab.progress import progress_for


def main() -> None:
    """Run one of the two."""
    try:
        with progress_for() as progress:
            if sys.argv[1:] == ["lock"]:
                lock(progress)
            elif sys.argv[1:]:
                sys.exit("usage: python -m gx10.lab.kit [lock]")
            else:
                prepare(progress)
    except LabError as error:
        sys.exit(str(error))


main()
