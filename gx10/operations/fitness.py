"""What a deploy would come to only after it had stopped the gang, asked before anything on any host is changed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from pyinfra import host

from gx10.described.description import Description
from gx10.described.reconciler_wheels import wheel_faults
from gx10.drift.classes import Drift
from gx10.engine.vllm.splits import Shape, split_faults
from gx10.facts import ModelShape, ReconcilerWheels
from gx10.probes import probe_words

from .loop.asking import ask
from .loop.commands import Commands, elsewhere, refuse
from .loop.declared import operation


@operation(drift=Drift.REPORT)
def reconciler_installable(node: str, wheels: Mapping[str, Any], description: Description) -> Commands:
    """Refuse where the reconciler's environment is to be made and its wheels are not on its host, or fit another."""
    if elsewhere([node]):
        return
    faults = list(wheel_faults(description, ask(ReconcilerWheels, **wheels)))
    if faults:
        yield from refuse(*faults)
        return
    host.noop("the reconciler's environment is installed, or can be")


@operation(drift=Drift.REPORT)
def model_splits(keeper: str, directories: Sequence[str], control: str | None, tensor: int, pipeline: int) -> Commands:
    """Refuse weights that so many ranks cannot share. Weights that nobody has yet are judged once they are staged."""
    if elsewhere([keeper]):
        return
    told = ask(ModelShape, directories=list(directories))["shape"]
    shape = Shape.read(told or (control_shape(control) if control else None))
    faults = list(split_faults(shape, tensor, pipeline)) if shape else []
    if faults:
        yield from refuse(*faults)
        return
    host.noop("the ranks can share the model" if shape else "no host has the model's config.json yet")


def control_shape(directory: str) -> dict[str, int] | None:
    """Heads and layers of weights on this node, as a host would tell them."""
    words = [sys.executable, *probe_words("model_shape", {"directories": [directory]})[1:]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    shape: dict[str, int] | None = json.loads(done.stdout)["shape"]
    return shape
