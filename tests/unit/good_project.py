"""A project directory with one good cluster, recipe and image, to be broken one value at a time."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gx10.engine.checked import Checked, check
from gx10.settings import PROJECT

Tree = dict[str, Any]

CLUSTER = "clusters/four.yaml"
RECIPE = "recipes/served.yaml"
IMAGE = "images/vllm-node.yaml"

FOUR: Tree = {
    "name": "four",
    "recipe": "served",
    "head": "gx10-1",
    "hosts": {
        f"gx10-{n}": {"management": f"10.0.0.1{n}", "fabric": [f"10.0.1.1{n}", f"10.0.2.1{n}"]} for n in range(1, 5)
    },
    "networks": {
        "management": {"subnet": "10.0.0.0/24", "interface": "enP7s7"},
        "fabric": [
            {"subnet": "10.0.1.0/24", "interface": "enp1s0f0np0", "rdma_device": "rocep1s0f0"},
            {"subnet": "10.0.2.0/24", "interface": "enP2p1s0f0np0", "rdma_device": "roceP2p1s0f0"},
        ],
    },
}
NODE_IMAGE: Tree = {
    "name": "vllm-node",
    "base": {"reference": f"nvidia/cuda:13.2.0-devel-ubuntu24.04@sha256:{'0' * 64}"},
    "torch": {"version": "2.11.0+cu130", "cuda": "13.0"},
    "wheels": {"directory": "/srv/wheels"},
    "requirements": "images/vllm-node.in",
    "lock": "images/vllm-node.lock",
    "mods": ["gpu-mem-util-gb"],
}


@dataclass
class GoodProject:
    """A project that passes, whose files can be changed before they are checked."""

    root: Path
    cluster: Tree
    recipe: Tree
    image: Tree

    @classmethod
    def at(cls, root: Path) -> GoodProject:
        """The good project, in an empty directory."""
        recipe = yaml.safe_load((PROJECT / "recipes/nemotron-3-ultra-nvfp4.yaml").read_text())
        del recipe["gx10"]["fallbacks"]  # they hold for the one command, and tests write others
        return cls(root, copy.deepcopy(FOUR), recipe, copy.deepcopy(NODE_IMAGE))

    def write(self, texts: dict[str, str] | None = None) -> None:
        """Write the three files; `texts` are written as they are, in place of a file or beside them."""
        for file, tree in ((CLUSTER, self.cluster), (RECIPE, self.recipe), (IMAGE, self.image)):
            self._write(file, yaml.safe_dump(tree, sort_keys=False))
        for file, text in (texts or {}).items():
            self._write(file, text)

    def check(self, name: str = "four") -> Checked:
        """Judge the project as a deploy does."""
        return check(name, self.root)

    def _write(self, file: str, text: str) -> None:
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def put(tree: Tree, key: str, value: object) -> None:
    """Set the value under a dotted key; positions in lists are numbers."""
    *above, last = key.split(".")
    node: Any = tree
    for step in above:
        node = node[int(step)] if isinstance(node, list) else node.setdefault(step, {})
    if isinstance(node, list):
        node[int(last)] = value
    else:
        node[last] = value


def remove(tree: Tree, key: str) -> None:
    """Remove a dotted key."""
    *above, last = key.split(".")
    node: Any = tree
    for step in above:
        node = node[int(step)] if isinstance(node, list) else node[step]
    del node[last]
