"""Tests, and what they run beside themselves."""

import gx10  # noqa: F401  # puts the hosts' package on the path, also for a module here that is run by itself
