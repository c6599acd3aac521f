"""What the lab stands in for: wheels instead of a GX10's, a base image, a tiny model. All of it lands in the cache."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from gx10.lab.cache import cache_directory, import_directory, locked
from gx10.lab.progress import Progress

from . import base_image, reconciler, tiny_model, wheelhouse


def prepare(progress: Progress) -> None:
    """Have everything that the head imports: /srv/import/{wheels,base,models,reconcile}; LabError says what is missing.

    What is there and unchanged is kept; the rest is made in parallel. Labs that start together wait for each other.
    """
    with locked(cache_directory() / "kit.lock"), ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(wheelhouse.ensure, progress), pool.submit(base_image.ensure, progress)]
        tasks.append(pool.submit(reconciler.ensure, progress))
        for variant in (tiny_model.FIRST, tiny_model.OTHER):
            tiny_model.write(import_directory() / "models" / variant.name, variant)
        for task in tasks:
            task.result()
