"""A stand-in for the docker command: images of a made OCI layout in a directory, saved and loaded as tar streams."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

from .host_side import command_on_path

PROGRAM = r"""
import hashlib, io, json, os, pathlib, sys, tarfile, time

home = pathlib.Path(os.environ["FAKE_DOCKER"])
mode = (home / "mode").read_text() if (home / "mode").exists() else ""
words = sys.argv[1:]
with (home / "asked").open("a") as log:
    log.write(" ".join(words) + "\n")

def place(reference):
    return home / "images" / reference.replace("/", "_")

if mode == "dead":
    sys.exit("failed to connect to the docker API: dial unix /var/run/docker.sock: connect: no such file or directory")
if words[:2] == ["image", "inspect"]:
    at = place(words[-1])
    if not at.exists():
        sys.exit(f"Error response from daemon: No such image: {words[-1]}")
    told = json.loads((at / "inspect.json").read_text())
    print(told["size"] if "Size" in words[3] else json.dumps(told["layers"]))
elif words[0] == "info":
    print(os.environ["FAKE_DOCKER"])
elif words[0] == "save":
    stream = (place(words[1]) / "image.tar").read_bytes()
    out = sys.stdout.buffer
    if mode in ("half", "break"):
        out.write(stream[: len(stream) // 2])
        out.flush()
        if mode == "break":
            sys.exit("Error response from daemon: read |0: input/output error")
        (home / "halfway").touch()
        until = time.monotonic() + 60
        while (home / "mode").exists() and time.monotonic() < until:
            time.sleep(0.01)
        stream = stream[len(stream) // 2 :]
    out.write(stream)
elif words[0] == "load":
    if mode == "refuse":
        sys.exit("Error response from daemon: no space left on device")
    stream = sys.stdin.buffer.read()
    with tarfile.open(fileobj=io.BytesIO(stream)) as image:
        files = {member.name: image.extractfile(member).read() for member in image}
    told = json.loads(files["manifest.json"])[0]
    wanted = json.loads(files[told["Config"]])["rootfs"]["diff_ids"]
    found = ["sha256:" + hashlib.sha256(files[name]).hexdigest() for name in told["Layers"]]
    if wanted != found:
        sys.exit("Error response from daemon: invalid diffID for layer")
    at = place(told["RepoTags"][0])
    at.mkdir(parents=True, exist_ok=True)
    (at / "image.tar").write_bytes(stream)
    layers = found[:-1] if mode == "lose a layer" else found
    (at / "inspect.json").write_text(json.dumps({"layers": layers, "size": len(stream)}))
else:
    sys.exit(f"unknown command {words}")
"""


class FakeDocker:
    """A daemon's images, and the environment in which `docker` speaks for it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "images").mkdir(parents=True)
        self.env = {**command_on_path(home / "bin", "docker", PROGRAM), "FAKE_DOCKER": str(home)}

    def mode(self, mode: str) -> None:
        """Let it misbehave; "" ends that."""
        path = self.home / "mode"
        if mode:
            path.write_text(mode)
        else:
            path.unlink(missing_ok=True)

    def asked(self) -> list[str]:
        """Commands so far."""
        path = self.home / "asked"
        return path.read_text().splitlines() if path.exists() else []

    def layers(self, reference: str) -> list[str] | None:
        """Layers of an image, or None."""
        path = self.home / "images" / reference.replace("/", "_") / "inspect.json"
        if not path.exists():
            return None
        told: list[str] = json.loads(path.read_text())["layers"]
        return told

    def remove(self, reference: str) -> None:
        """Forget an image."""
        directory = self.home / "images" / reference.replace("/", "_")
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()

    def add(self, reference: str, layers: list[bytes], *, misnamed: int | None = None, size: int | None = None) -> None:
        """Have an image; the content of layer `misnamed` is not that of its name."""
        names = [f"blobs/sha256/{hashlib.sha256(layer).hexdigest()}" for layer in layers]
        diff_ids = ["sha256:" + name.rpartition("/")[2] for name in names]
        config = json.dumps({"config": {"reference": reference}, "rootfs": {"diff_ids": diff_ids}}).encode()
        config_name = f"blobs/sha256/{hashlib.sha256(config).hexdigest()}"
        contents = dict(zip(names, layers, strict=True))
        if misnamed is not None:
            contents[names[misnamed]] = b"damaged" + layers[misnamed][7:]
        contents[config_name] = config
        told = [{"Config": config_name, "RepoTags": [reference], "Layers": names}]
        contents["index.json"] = json.dumps({"schemaVersion": 2, "of": reference}).encode()
        contents["manifest.json"] = json.dumps(told).encode()
        contents["oci-layout"] = b'{"imageLayoutVersion": "1.0.0"}'
        directory = self.home / "images" / reference.replace("/", "_")
        directory.mkdir(parents=True, exist_ok=True)
        stream = tar_of(contents)
        (directory / "image.tar").write_bytes(stream)
        inspected = {"layers": diff_ids, "size": size or sum(map(len, layers))}
        (directory / "inspect.json").write_text(json.dumps(inspected))


def tar_of(contents: dict[str, bytes]) -> bytes:
    """A tar of files, with the directories that Docker writes as well."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("blobs", "blobs/sha256"):
            directory = tarfile.TarInfo(name)
            directory.type = tarfile.DIRTYPE
            tar.addfile(directory)
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
