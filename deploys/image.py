"""Have the engine image on every host and nothing else: what `gx10 images build` and `gx10 images restore` run."""

from gx10.described.description import described_by_environment
from tasks.host import host_tuned
from tasks.image import image
from tasks.preflight import preflight

described = described_by_environment()

preflight(described)
host_tuned(described)
image(described)
