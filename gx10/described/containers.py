"""How each container of the gang must run, read from the very units that start it."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from . import gang_files, units
from .description import Description, once
from .image_inputs import LABEL

RUN = re.compile(r"^ExecStart=\S*docker run (.*?)(?<!\\)$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Described:
    """A container as its unit starts it."""

    image: str
    inputs: str
    """Digest of the image's inputs, which the image carries as a label."""
    command: tuple[str, ...]
    environment: Mapping[str, str]
    """Digest of each value."""
    labels: Mapping[str, str]
    """But for generation and life: the one is compared by itself, the other is no description's."""
    binds: tuple[str, ...]
    capabilities: tuple[str, ...]
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Commands by name that the supervisor starts instead after a start that ran out of memory."""

    def fallback(self, found: Mapping[str, Any]) -> str:
        """Name of the fallback that a running container runs; nothing when it runs none."""
        command = tuple(found["command"])
        return next((name for name, argv in self.fallbacks.items() if argv == command != self.command), "")

    def deviations(self, found: Mapping[str, Any]) -> Iterator[str]:
        """What a running container has otherwise, by name; values are not told, since they may be secret."""
        if found["image"] != self.image:
            yield f"image {found['image']}"
        elif (found.get("image_labels") or {}).get(LABEL) != self.inputs:
            yield "an image of other inputs"
        if tuple(found["command"]) != self.command and not self.fallback(found):
            yield "another command line"
        own = found.get("image_environment") or {}
        there = {
            name: value
            for name, value in found["environment"].items()
            if name in self.environment or (own.get(name) != value and name != units.RANK_VARIABLE)
        }
        names = [name for name in sorted({*there, *self.environment}) if there.get(name) != self.environment.get(name)]
        if names:
            yield f"another environment: {', '.join(names)}"
        if found["environment"].get(units.RANK_VARIABLE) != _digest(_life(found["labels"])):
            yield "no life of the gang"
        labels = {name: found["labels"].get(name) for name in self.labels}
        if labels != self.labels:
            yield "other labels"
        if tuple(found["binds"]) != self.binds:
            yield "other volumes"
        if found["privileged"] or tuple(found["capabilities"]) != self.capabilities:
            yield "other privileges"


@once
def described_containers(description: Description, host: str) -> dict[str, Described]:
    """Containers of the gang on a host, by name."""
    files = list(gang_files.ray_files(description, host))
    if host == description.cluster.head:
        files += gang_files.engine_files(description)
    texts = {file.path: file.content.decode() for file in files}
    found = {}
    for path, text in texts.items():
        if not path.endswith(".service") or not (run := RUN.search(text)):
            continue
        words = [
            word.replace("%%", "%").replace("$$", "$")
            for word in shlex.split(run[1].replace("\\\n", " "), comments=False)
        ]
        place = words.index(description.image_reference)
        options, command = words[:place], words[place + 1 :]
        environment = _environment(texts[file] for file in _values(options, "--env-file") if file in texts)
        labels = dict(word.partition("=")[::2] for word in _values(options, "--label"))
        for of_life in (units.GENERATION_LABEL, units.LIFE_LABEL):
            del labels[of_life]
        name = next(_values(options, "--name"))
        found[name] = Described(
            image=description.image_reference,
            inputs=description.inputs.digest,
            command=tuple(command),
            environment=environment,
            labels=labels,
            binds=tuple(sorted(_values(options, "--volume"))),
            capabilities=tuple(sorted(_values(options, "--cap-add"))),
            fallbacks={
                rung.name: rung.argv for rung in description.checked.fallbacks if name == units.ENGINE_CONTAINER
            },
        )
    return found


def _life(labels: Mapping[str, str]) -> str:
    """GENERATION.NUMBER by the labels of a container; what the supervisor did not start has none."""
    return f"{labels.get(units.GENERATION_LABEL, '')}.{labels.get(units.LIFE_LABEL, '')}"


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def _values(options: list[str], name: str) -> Iterator[str]:
    return (value for option, value in pairwise(options) if option == name)


def _environment(texts: Iterable[str]) -> dict[str, str]:
    lines = (line for text in texts for line in text.splitlines() if "=" in line)
    pairs = (line.partition("=") for line in lines)
    return {name: _digest(value) for name, _, value in pairs}
