"""`python -m gx10.lab.kit` makes the lab's kit without a lab."""

from __future__ import annotations

import sys

from gx10.lab.errors import LabError
from gx10.lab.progress import progress_for

from . import prepare


def main() -> None:
    """Make what is missing of the kit."""
    try:
        with progress_for() as progress:
            prepare(progress)
    except LabError as error:
        sys.exit(str(error))


main()
