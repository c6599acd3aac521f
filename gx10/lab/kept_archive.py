"""The image archives of head and control node outlive the lab: the next lab loads instead of builds.

Archived files are named by their hash and only ever replaced, so the lab and the cache share them as hard links.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

from gx10_host.content.manifest import PROVEN

from .cache import cache_directory, locked

ARCHIVE = Path("var/lib/gx10/archive")
"""Where the head keeps its archive: `paths.archive` of clusters/lab.yaml."""
CONTROL = Path("archive")
"""Where the control node keeps its own, below the lab's state: `retention.control_archive` of clusters/lab.yaml."""


def keep(upper: Path) -> None:
    """Keep the newest archived image of a head's disk in the cache, instead of what was kept before."""
    archive = upper / ARCHIVE
    manifests = sorted((archive / "images").glob("*.json"), key=lambda path: path.stat().st_mtime)
    if not manifests:
        return
    newest = manifests[-1]
    names = [entry["path"] for entry in json.loads(newest.read_text())["files"]]
    kept = cache_directory() / "archive"
    with locked(cache_directory() / "archive.lock"):
        partial = kept.with_name("archive.partial")
        shutil.rmtree(partial, ignore_errors=True)
        for name in [*names, f"images/{newest.name}", PROVEN]:
            if not (archive / name).is_file():
                return
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            _share(archive / name, partial / name)
        shutil.rmtree(kept, ignore_errors=True)
        partial.rename(kept)


def restore(*archives: Path) -> None:
    """Give fresh archives what was kept."""
    kept = cache_directory() / "archive"
    with locked(cache_directory() / "archive.lock"):
        for archive in archives:
            if kept.is_dir() and not archive.exists():
                shutil.copytree(kept, archive, copy_function=_share)


def _share(source: str | Path, target: str | Path) -> None:
    """Link a file; copy it where cache and checkout are on different file systems."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copy2(source, target)
