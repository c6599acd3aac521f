"""A Hugging Face repository at a pinned revision, fetched once, by the huggingface_hub of the engine's image.

    gx10-host hub --repository ORG/NAME --revision COMMIT --to DIR --name NAME [--reuse DIR]

Runs inside a container of that image, which alone has the library; DIR is mounted under its own path. A token is read
by the library itself from the file that HF_TOKEN_PATH names. Every file is held to the hub's own hash: the sha256 of a
large one, the git object id of a small one. What is absent is resumed where the last run stopped.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import BinaryIO, cast

from .hub_cache import Cached
from .landing import Stop, alone_in, land, own_file
from .manifest import MANIFEST, SHA256, Entry, Wrong, proven, read_manifest
from .proof import BLOCK, Progress, Proof, digest_so_far, prove
from .stream import write_whole
from .transfer import describe_directory

ATTEMPTS = 5
"""Attempts of one file that bring no byte."""
COMMIT = re.compile(r"[0-9a-f]{40}")
LEFT_OUT = (".gitattributes",)
OWN_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("repository", "to", "name"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--revision", default="")
    parser.add_argument("--reuse")
    arguments = parser.parse_args(argv)
    try:
        fetch(arguments)
    except (Wrong, OSError) as error:
        sys.exit(f"hub: {error}")
    return 0


def fetch(arguments: argparse.Namespace) -> None:
    """Complete a directory from the hub, and describe it."""
    root, source = pathlib.Path(arguments.to), {"hub": arguments.repository, "revision": arguments.revision}
    with alone_in(root):
        listed = listing(arguments.repository, arguments.revision)
        known = entries_known(root, listed, source)
        wanted = [entry for entry in listed if entry["path"] not in known]
        large = [entry for entry in wanted if SHA256.fullmatch(entry["sha256"])]
        wrong = {entry["path"] for entry in prove(root, arguments.name, large)}
        known |= {entry["path"]: entry for entry in large if entry["path"] not in wrong}
        wanted = [entry for entry in wanted if entry["path"] not in known]
        cached = Cached(arguments.reuse, entries=wanted) if arguments.reuse else None

        def bring(entry: Entry, partial: Path, progress: Progress, stopped: Event) -> tuple[Entry, str]:
            if cached and (found := cached_as_listed(cached, entry, partial, progress)):
                return proven(entry, found), found
            out = Target(partial, entry["size"], progress, stopped)
            return brought(arguments.repository, arguments.revision, entry, out)

        landed = land(root, arguments.name, wanted, bring, Proof(root))
        entries = {**known, **landed}
        if not wanted:
            print(f"{arguments.name}: {len(entries)} files are as on the hub, nothing moved", flush=True)
        describe_directory(root, arguments.name, entries, source=source)


def entries_known(root: Path, listed: Sequence[Entry], source: Mapping[str, str]) -> dict[str, Entry]:
    """Small files, for which the hub names no sha256, that an earlier run proved at this very revision."""
    manifest, proof = read_manifest(root / MANIFEST), Proof(root)
    paths = {entry["path"] for entry in listed if not SHA256.fullmatch(entry["sha256"])}
    if not manifest or manifest.get("source") != source:
        return {}
    return {entry["path"]: entry for entry in manifest["files"] if entry["path"] in paths and proof.holds(entry)}


def listing(repository: str, revision: str) -> list[Entry]:
    """Path, size and hash of every file at the revision; what the hub refuses is told with what to do."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        found = HfApi().model_info(repository, revision=revision or None, files_metadata=True)
    except GatedRepoError:
        raise Wrong(
            f"{repository} is gated: accept its licence on the hub, and put the token of that account where "
            "models.hub_token_file says."
        ) from None
    except RevisionNotFoundError:
        raise Wrong(f"{repository} has no revision {revision}. Correct source.revision in the recipe.") from None
    except RepositoryNotFoundError:
        raise Wrong(
            f"The hub has no {repository}, or hides it from this token. Correct source.hub in the recipe, or "
            "models.hub_token_file in the cluster file."
        ) from None
    except HfHubHTTPError as error:
        raise Stop(f"The hub refused to list {repository}: {first_line(error)}. Run again.") from None
    except Exception as error:  # noqa: BLE001 - the library's own network stack raises what it likes
        raise Stop(f"The hub cannot be asked for {repository}: {first_line(error)}. Is there a way out?") from None
    if not revision:
        raise Wrong(
            f"The recipe names no source.revision, and a branch moves. The newest commit of {repository} is "
            f"{found.sha}: look at it, then write it there."
        )
    if not COMMIT.fullmatch(revision) or found.sha != revision:
        raise Wrong(f"The hub answered with commit {found.sha}, expected {revision}.")
    return [
        {
            "path": sibling.rfilename,
            "size": sibling.size or 0,
            "sha256": sibling.lfs.sha256 if sibling.lfs else f"git object {sibling.blob_id}",
        }
        for sibling in sorted(found.siblings or [], key=lambda sibling: sibling.rfilename)
        if sibling.rfilename not in LEFT_OUT
    ]


def cached_as_listed(cached: Cached, entry: Entry, partial: Path, progress: Progress) -> str | None:
    """Take a large file from a hub's cache on this host; small ones are quicker fetched than compared."""
    return cached.bring(entry, partial, progress) if SHA256.fullmatch(entry["sha256"]) else None


class Target:
    """A partial file as the library writes it: hashed and counted on the way, and left when others failed."""

    def __init__(self, partial: Path, size: int, progress: Progress, stopped: Event) -> None:
        if own_file(partial) and partial.stat().st_size > size:
            partial.unlink()
        self.file = partial.open("ab", buffering=0)
        self.partial, self.progress, self.stopped = partial, progress, stopped
        self.digest, self.count = digest_so_far(partial)

    def write(self, block: bytes) -> int:
        if self.stopped.is_set():
            raise Stop(f"{self.partial} was not fetched: another file failed.")
        write_whole(self.file, memoryview(block))
        self.digest.update(block)
        self.count += len(block)
        self.progress.add(len(block))
        return len(block)

    def tell(self) -> int:
        return self.count

    def seek(self, *where: int) -> int:
        return self.file.seek(*where)

    def truncate(self) -> None:
        """The hub sends from the start on after all."""
        self.file.truncate()
        self.progress.add(-self.count)
        self.digest, self.count = digest_so_far(self.partial)


def brought(repository: str, revision: str, entry: Entry, out: Target) -> tuple[Entry, str]:
    """Complete a partial file from the hub; the entry with its sha256, and what was written."""
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined] # re-exported, as its pages say

    constants.DOWNLOAD_CHUNK_SIZE = BLOCK  # It writes 10 MB at once, and what it holds is lost with a connection.
    url, attempt = hf_hub_url(repository, entry["path"], revision=revision), 0
    with out.file:
        while out.count < entry["size"]:
            before = out.count
            try:
                # Into our own partial file: the library resumes nothing that an earlier process began.
                http_get(
                    url,
                    cast(BinaryIO, out),
                    resume_size=before,
                    headers=build_hf_headers(),
                    expected_size=entry["size"],
                )
            except Exception as error:
                if isinstance(error, Wrong) or getattr(error, "errno", None) in OWN_DISK:
                    raise
                attempt = failed(entry, out.count > before, attempt, error)
                out.stopped.wait(min(2**attempt, 15))
    return judged(entry, out.partial, out)


def failed(entry: Entry, moved: bool, attempt: int, error: Exception) -> int:
    """Count an attempt; raise where another is pointless."""
    attempt = 1 if moved else attempt + 1
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if status in (401, 403, 404) or attempt >= ATTEMPTS:
        raise Stop(
            f"{entry['path']} could not be fetched from the hub after {attempt} attempts: {first_line(error)}. "
            "The next run resumes."
        ) from None
    return attempt


def judged(entry: Entry, partial: Path, out: Target) -> tuple[Entry, str]:
    """The entry with its sha256: the hub's own, or what was written where its git object id is the hub's."""
    found = out.digest.hexdigest()
    if SHA256.fullmatch(entry["sha256"]):
        return entry, found
    blob = hashlib.sha1(b"blob %d\0" % out.count, usedforsecurity=False)
    with partial.open("rb") as content:
        while block := content.read(BLOCK):
            blob.update(block)
    right = entry["sha256"] == f"git object {blob.hexdigest()}"
    return (proven(entry, found) if right else entry), found


def first_line(error: Exception) -> str:
    """What an error says, without what a library adds to explain it, and without the address's secrets."""
    text = str(error).strip().splitlines()
    return re.sub(r"\?\S*", "", text[0]) if text else type(error).__name__
