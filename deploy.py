"""Bring every host of the cluster to its described state: `pyinfra inventory.py deploy.py`."""

from gx10.described.description import described_by_environment
from tasks.applied import applied
from tasks.engine import engine
from tasks.host import host_tuned
from tasks.image import image, old_images
from tasks.live import live
from tasks.model import model
from tasks.preflight import preflight, reconciler_preflight
from tasks.ray import ray
from tasks.roles import former_roles
from tasks.verify import verify
from tasks.watch import watch

described = described_by_environment()

preflight(described)
reconciler_preflight(described)
host_tuned(described)
image(described)
model(described)
ray(described)
engine(described)
live(described)
verify(described)
old_images(described)
watch(described)
former_roles(described)
applied(described)
