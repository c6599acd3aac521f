"""An archived image back into Docker: only the layers that it lacks, under a bound, checked, and repaired once.

`docker load` takes a stream without the lowest layers of an image where the daemon holds them, and takes layers
compressed (seen: Docker 26 with overlay2). With containerd's image store it wants everything as `docker save` wrote it.
"""

from __future__ import annotations

import contextlib
import pathlib
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import IO, Any

from gx10_host.content.manifest import Manifest, Wrong, safe
from gx10_host.content.proof import BLOCK, Progress, prove

from .docker import containers, docker_root, heard, image_layers, layers_held, piped, restart_docker, takes_part, well
from .gc import room
from .store import needed

STALL_SECONDS = 180
"""Without a byte that Docker takes, the load is given up."""
UNPACK_SECONDS, UNPACK_RATE = 300, 10_000_000
"""Bound of what follows the last byte: a base, and bytes per second of the slowest disk that is waited for."""


def present_layers(manifest: Manifest) -> int:
    """How many of an image's lowest layers the daemon holds, in this order, from other images."""
    layers = manifest["layers"]
    if not takes_part():
        return 0
    most = 0
    for held in layers_held():
        count = 0
        while count < min(len(held), len(layers)) and held[count] == layers[count]:
            count += 1
        most = max(most, count)
    return most


def load(root: pathlib.Path, reference: str, manifest: Manifest, proven: Collection[str] = ()) -> None:
    """Have an image of the archive in Docker, with the archive's layers; `proven` are paths that were just hashed.

    Checks every file before Docker sees a byte. A load that failed is tried again with all layers where they are there,
    and once more after Docker was restarted where it is wedged and no container would suffer.
    """
    present = present_layers(manifest)
    entries, spared = needed(manifest, present)
    if wrong := prove(root, f"archive {reference}", [entry for entry in entries if entry["path"] not in proven]):
        names = ", ".join(entry["path"] for entry in wrong[:3])
        raise Wrong(
            f"The archive of {reference} is damaged at {names}. Run the deploy again: those files are fetched anew."
        )
    sizes = {entry["path"]: entry["size"] for entry in entries}
    items = [item for item in manifest["stream"] if item["name"] not in spared]
    unpacked = sum(item.get("unpacked", sizes[item["path"]]) for item in items)
    # Docker keeps the whole stream beside its store before it takes the layers over.
    room(docker_root(), reference, sum(sizes.values()) + unpacked)
    done = attempt(root, reference, items, sizes, unpacked)
    if done and not well():
        done = repaired(reference, done) or attempt(root, reference, items, sizes, unpacked)
    elif done and present and not prove(root, f"archive {reference}", manifest["files"]):
        # Somebody removed a layer meanwhile, or this Docker wants them all.
        print(f"load {reference}: {done}; again with all layers", flush=True)
        sizes = {entry["path"]: entry["size"] for entry in manifest["files"]}
        done = attempt(root, reference, manifest["stream"], sizes, unpacked)
    if done:
        raise Wrong(
            f"docker load of {reference} {done}. If the next run fails too, restart docker.service: an interrupted "
            "load can wedge the daemon."
        )
    if (layers := image_layers(reference)) != manifest["layers"]:
        raise Wrong(
            f"After docker load {reference} has {len(layers or [])} layers that are not the archive's "
            f"{len(manifest['layers'])}. Run the deploy again; if it persists, remove the image's manifest below "
            f"{root / 'images'} so that the image is built or fetched anew."
        )


def repaired(reference: str, fault: str) -> str:
    """Restart a daemon that no longer answers, unless containers run; why not, in words, else nothing."""
    if running := containers():
        return (
            f"{fault}, and Docker does not answer since. It was not restarted, because {', '.join(running)} run on "
            "this host: stop the gang, `systemctl restart docker`, then run again"
        )
    print(f"load {reference}: {fault}, and Docker does not answer since: it is restarted", flush=True)
    restart_docker()
    return ""


def attempt(
    root: pathlib.Path, reference: str, items: Sequence[dict[str, Any]], sizes: Mapping[str, int], unpacked: int
) -> str:
    """Send files to `docker load`; what went wrong, in words, or nothing. A load begun is finished, heard or not."""
    progress = Progress(f"load {reference}", sum(sizes[item["path"]] for item in items), unheard=True)
    plain = not takes_part()
    with tempfile.TemporaryFile() as said:
        docker = subprocess.Popen(
            ["docker", "load", "--quiet"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said
        )
        bound = Bound(docker, UNPACK_SECONDS + unpacked / UNPACK_RATE)
        broken = ""
        try:
            with tarfile.open(fileobj=piped(docker.stdin), mode="w|", bufsize=BLOCK) as stream:
                stream.copybufsize = BLOCK  # type: ignore[attr-defined] # a parameter that its stubs do not know
                for item in items:
                    path = safe(root, item["path"])
                    add(stream, path, item, plain, lambda count: bound.moved(progress, count))
            piped(docker.stdin).close()
        except BrokenPipeError:
            broken = "it stopped reading"
        except BaseException:
            docker.terminate()  # Never let Docker take a stream that broke off for a whole one.
            raise
        finally:
            with contextlib.suppress(BrokenPipeError):
                piped(docker.stdin).close()
            bound.sent()
            status = docker.wait()
            bound.over()
        progress.finish()
        if bound.why:
            return f"was given up after {bound.why}"
        if status or broken:
            return f"ended with status {status}: {heard(said) or broken or 'no message'}"
    return ""


class Bound(threading.Thread):
    """Kills a `docker load` that takes no byte for too long, or unpacks for too long after the last one."""

    def __init__(self, docker: subprocess.Popen[bytes], unpack_seconds: float) -> None:
        super().__init__(daemon=True)
        self.docker, self.unpack_seconds, self.why = docker, unpack_seconds, ""
        self.last, self.seconds, self.ended = time.monotonic(), float(STALL_SECONDS), threading.Event()
        self.start()

    def moved(self, progress: Progress, count: int) -> None:
        self.last = time.monotonic()
        progress.add(count)

    def sent(self) -> None:
        self.last, self.seconds = time.monotonic(), self.unpack_seconds

    def over(self) -> None:
        self.ended.set()
        self.join()

    def run(self) -> None:
        while not self.ended.wait(0.2):
            if time.monotonic() - self.last > self.seconds:
                self.why = f"{self.seconds:.0f} s without progress"
                self.docker.kill()
                return


def add(
    stream: tarfile.TarFile, path: pathlib.Path, item: dict[str, Any], plain: bool, moved: Callable[[int], None]
) -> None:
    """Add a stored file to the stream, as it is stored or, for a Docker that wants it `plain`, unpacked."""
    member = tarfile.TarInfo(item["name"])
    member.mode = 0o644
    packed = "unpacked" in item
    member.size = item["unpacked"] if plain and packed else path.stat().st_size
    with contextlib.ExitStack() as stack:
        if plain and packed:
            words = ["zstd", "-q", "-d", "-c", "--", str(path)]
            source = stack.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE)).stdout
        else:
            source = stack.enter_context(path.open("rb", buffering=0))
        stream.addfile(member, Counted(piped(source), moved))


class Counted:
    """A source whose bytes are counted as they are read."""

    def __init__(self, source: IO[bytes], moved: Callable[[int], None]) -> None:
        self.source, self.moved = source, moved

    def read(self, count: int = -1, /) -> bytes:
        block = self.source.read(count)
        self.moved(len(block))
        return block
