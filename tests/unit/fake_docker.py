"""A stand-in for the docker command: images of a made OCI layout in a directory, saved and loaded as tar streams."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

from .host_side import command_on_path

PROGRAM = r"""
import hashlib, io, json, os, pathlib, subprocess, sys, tarfile, time

home = pathlib.Path(os.environ["FAKE_DOCKER"])
mode = (home / "mode").read_text() if (home / "mode").exists() else ""
words = sys.argv[1:]
with (home / "asked").open("a") as log:
    log.write(" ".join(words) + "\n")

def place(reference):
    return home / "images" / reference.replace("/", "_")

if mode == "dead":
    sys.exit("failed to connect to the docker API: dial unix /var/run/docker.sock: connect: no such file or directory")
def layers_of(at):
    return json.loads((at / "inspect.json").read_text())["layers"]

if words[:2] == ["image", "ls"]:
    print("\n".join(path.name for path in sorted((home / "images").iterdir())))
elif words[:2] == ["image", "inspect"] and len(words) > 5:
    for reference in words[4:]:
        print(json.dumps(layers_of(place(reference))))
elif words[:2] == ["image", "inspect"]:
    at = place(words[-1])
    if not at.exists():
        sys.exit(f"Error response from daemon: No such image: {words[-1]}")
    told = json.loads((at / "inspect.json").read_text())
    print({"{{.Size}}": told["size"], "{{.Id}}": told.get("id")}.get(words[3]) or json.dumps(told["layers"]))
elif words[0] == "info" and "DriverStatus" in words[-1]:
    print("io.containerd.snapshotter.v1" if mode == "containerd" else "Supports d_type")
elif words[0] == "info" and words[-1] == "{{.Driver}}":
    print("overlay2" if (home / "image/overlay2").exists() else "another-store")
elif words[0] == "info":
    if (home / "wedged").exists():
        sys.exit("failed to connect to the docker API: no answer")
    print(os.environ["FAKE_DOCKER"])
elif words[0] == "ps":
    print("\n".join((home / "running").read_text().split()) if (home / "running").exists() else "")
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
    if mode == "hang":
        time.sleep(60)
    if mode == "wedge":
        (home / "wedged").touch()
        sys.exit("error during connect: EOF")
    stream = sys.stdin.buffer.read()
    (home / "loaded").open("a").write(f"{len(stream)}\n")
    with tarfile.open(fileobj=io.BytesIO(stream)) as image:
        files = {member.name: image.extractfile(member).read() for member in image}
    told = json.loads(files["manifest.json"])[0]
    wanted = json.loads(files[told["Config"]])["rootfs"]["diff_ids"]
    held = [layers_of(path) for path in (home / "images").iterdir()]
    found = []
    for count, name in enumerate(told["Layers"], 1):
        if name in files:
            content = files[name]
            if content[:4] == b"\x28\xb5\x2f\xfd":
                if mode == "containerd":
                    sys.exit("Error response from daemon: a compressed layer")
                unpack = subprocess.run(["zstd", "-d", "-c"], input=content, capture_output=True, check=True)
                content = unpack.stdout
            found.append("sha256:" + hashlib.sha256(content).hexdigest())
        elif mode != "forget" and any(layers[:count] == wanted[:count] for layers in held):
            found.append(wanted[count - 1])
        else:
            sys.exit(f"Error response from daemon: open {name}: no such file or directory")
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
        inspected = {"layers": diff_ids, "size": size or sum(map(len, layers)), "id": f"sha256:{config_name[13:]}"}
        (directory / "inspect.json").write_text(json.dumps(inspected))

    def lay(self, reference: str, layers: list[bytes]) -> list[Path]:
        """Have an image whose layers are tars, and lie as overlay2 keeps them; the directories of their files."""
        self.add(reference, layers)
        store = self.home / "image/overlay2"
        directory = self.home / "images" / reference.replace("/", "_")
        told = json.loads((directory / "inspect.json").read_text())
        content = store / "imagedb/content/sha256"
        content.mkdir(parents=True, exist_ok=True)
        with tarfile.open(directory / "image.tar") as image:
            config = image.extractfile(f"blobs/sha256/{told['id'][7:]}")
            assert config is not None
            (content / told["id"][7:]).write_bytes(config.read())
        chain, places = "", []
        for count, (digest, layer) in enumerate(zip(told["layers"], layers, strict=True)):
            chain = f"sha256:{hashlib.sha256(f'{chain} {digest}'.encode()).hexdigest()}" if chain else digest
            place = store / "layerdb/sha256" / chain[7:]
            place.mkdir(parents=True, exist_ok=True)
            cache = f"cache-{chain[7:19]}-{count}"
            (place / "size").write_text(str(len(layer)))
            (place / "cache-id").write_text(cache)
            files = self.home / "overlay2" / cache / "diff"
            files.mkdir(parents=True, exist_ok=True)
            places.append(files)
            with gzip.open(place / "tar-split.json.gz", "wt") as entries:
                entries.writelines(json.dumps(entry) + "\n" for entry in split(layer, files))
        return places


def split(layer: bytes, files: Path) -> list[dict[str, object]]:
    """Put the files of a tar into a directory, and tell what is left of it in between as Docker does."""
    told: list[dict[str, object]] = []
    at = 0
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        for member in tar:
            head = layer[at : member.offset_data]
            told.append({"type": 2, "payload": base64.b64encode(head).decode()})
            name = os.fsencode(member.name)
            raw = {"name_raw": base64.b64encode(name).decode()} if not member.name.isascii() else {"name": member.name}
            told.append({"type": 1, "size": member.size or None, **raw})
            at = member.offset_data + member.size
            if member.isfile():
                content = tar.extractfile(member)
                assert content is not None
                path = files / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())
    return [*told, {"type": 2, "payload": base64.b64encode(layer[at:]).decode()}]


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
