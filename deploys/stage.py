"""Have image and weights in place on every host, and leave what runs alone: `pyinfra inventory.py deploys/stage.py`."""

from gx10.described.description import described_to_stage
from tasks.host import host_tuned
from tasks.image import image
from tasks.model import model
from tasks.preflight import preflight

described = described_to_stage()

preflight(described)
host_tuned(described)
image(described)
model(described)
