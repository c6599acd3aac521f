"""How pyinfra runs this deploy."""

from pyinfra import config

from gx10.operations.loop.invocation import begin

# Read before the inventory: what a gang cannot be deployed with is refused here, and signals are answered from here on.
begin()

# One host that fails stops the run after the operation it failed in: a gang of three is no gang.
config.FAIL_PERCENT = 0
config.CONNECT_TIMEOUT = 10
config.REQUIRE_PYINFRA_VERSION = "==3.10.0"
