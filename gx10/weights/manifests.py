"""Manifests as the control node keeps them: what the weights were when they were last proven on every host."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from gx10_host.content.manifest import digest_of_manifest, write_json

STATE = ".state"
"""Directory of the project, beside the lab's, that holds what the control node remembers of clusters."""


@dataclass(frozen=True)
class Manifests:
    """The manifests of one cluster's models."""

    directory: Path
    kept_here: bool = True
    """Whether this node keeps them. The reconciler's copy of the project keeps none: they are its owner's."""

    @classmethod
    def of(cls, project: Path, cluster: str, *, kept_here: bool = True) -> Manifests:
        """Those of a cluster of this project."""
        return cls(project / STATE / cluster / "manifests", kept_here)

    def path(self, model: str) -> Path:
        """File of a model's manifest; `model` is its directory below the model root."""
        return self.directory / f"{quote(model, safe='')}.json"

    def digest(self, model: str) -> str | None:
        """Digest of a recorded manifest; None where none was recorded, or what stands there is none."""
        told = self._read(model)
        return None if told is None else digest_of_manifest(told)

    def source(self, model: str) -> dict[str, str] | None:
        """The hub's repository and revision that a recorded manifest names; None where it names none."""
        told = self._read(model)
        return None if told is None else told.get("source")

    def record(self, model: str, text: str) -> None:
        """Keep a manifest, whole or not at all; raises ValueError for what is no manifest."""
        told = json.loads(text)
        if not isinstance(told, dict) or not isinstance(told.get("files"), list):
            raise ValueError(f"{text[:80]!r} is no manifest")  # noqa: TRY004 - of what was read, not of an argument
        write_json(self.path(model), told)

    def _read(self, model: str) -> Any:  # noqa: ANN401 - whatever JSON says
        try:
            told = json.loads(self.path(model).read_bytes())
        except (OSError, ValueError):
            return None
        return told if isinstance(told, dict) and isinstance(told.get("files"), list) else None


def bytes_in(directory: str) -> int:
    """Bytes in a directory of the control node."""
    return sum(path.stat().st_size for path in Path(directory).rglob("*") if path.is_file())
