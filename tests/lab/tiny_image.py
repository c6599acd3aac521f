"""Engine images of some kilobytes: the Dockerfile of the project on the lab's base, stand-ins for every package."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import tarfile
from dataclasses import dataclass, field, replace
from pathlib import Path

from gx10.described.image_inputs import image_inputs
from gx10.lab.kit.wheel import Wheel
from gx10.lab.lab import Lab
from gx10.operations.image import build_words
from gx10.pins.locked import Locked, lock_text, normalised, read_lock
from gx10.settings import PROJECT, Image, load_image

HOST = "gx10-1"
ROOT = "/var/tmp/gx10-tiny"  # noqa: S108 - on the lab's host
#: What builds and proves an image has to be real; it comes from the lab's own index.
REAL = ("uv", "packaging")


def torch(version: str, cuda: str) -> Wheel:
    """A torch that states its versions, and does nothing else."""
    files = {
        "torch/__init__.py": b"from . import version\n\n__version__ = version.__version__\n",
        "torch/version.py": f"__version__ = {version!r}\ncuda = {cuda!r}\n".encode(),
    }
    requires = ("nvidia-tiny",) if "+cu" in version else ()
    return Wheel("torch", version, "States its versions", files, requires)


def vllm() -> Wheel:
    """A vLLM whose metadata pins another torch than it was built with, as the benchmarked wheel's does."""
    empty = ("cli/main", "openai/api_server")
    files = {
        "vllm/__init__.py": b"",
        "vllm/flag.py": b"FLAGS = ['--port']\n",
        "vllm/platforms/__init__.py": b"class current_platform:\n    import_kernels = staticmethod(lambda: None)\n",
        "vllm/v1/engine/core.py": b"import torch\n",
        "vllm/model_executor/models/registry.py": b"class ModelRegistry:\n    models = {}\n",
        **{f"vllm/entrypoints/{name}.py": b"" for name in empty},
    }
    return Wheel("vllm", "0.22.1", "Pins another torch", files, ("torch==2.10.0", "transformers", "packaging"))


#: What the index offers: a CPU build of the torch that vLLM names in its metadata, and the one it was built with.
OFFERED = (
    torch("2.10.0+cpu", ""),
    torch("2.11.0+cu130", "13.0"),
    Wheel("nvidia-tiny", "1", "A library of CUDA", {"nvidia_tiny.py": b""}),
    Wheel("ray", "2.55.1", "Ray", {"ray/__init__.py": b""}),
    Wheel("transformers", "4.57.6", "Transformers", {"transformers/__init__.py": b"major = 4\n"}),
    Wheel("transformers", "5.24.0", "Transformers", {"transformers/__init__.py": b"major = 5\n"}),
)
LOCKED = {
    "torch": "torch", "nvidia-tiny": "torch", "ray": "engine", "transformers": "engine",
}  # fmt: skip

MOD = """\
--- a/vllm/flag.py
+++ b/vllm/flag.py
@@ -1 +1 @@
-FLAGS = ['--port']
+FLAGS = ['--port', '--tiny']
"""


@dataclass
class Tiny:
    """A project with one tiny image, built on the lab's head."""

    lab: Lab
    project: Path
    image: Image
    tags: list[str] = field(default_factory=list)

    @classmethod
    def at(cls, lab: Lab, project: Path) -> Tiny:
        """The tiny image in a directory of its own, with its wheels and index on the lab's head."""
        left_out = shutil.ignore_patterns("mods", "__pycache__")
        shutil.copytree(PROJECT / "files/image", project / "files/image", ignore=left_out)
        mod = project / "files/image/mods/tiny"
        mod.mkdir(parents=True)
        (mod / "tiny.patch").write_text(MOD)
        (mod / "prove.py").write_text("def prove():\n    from vllm.flag import FLAGS\n    return {'flags': FLAGS}\n")
        offered = {(wheel.name, wheel.version): wheel.write(_project(project, wheel.name)) for wheel in OFFERED}
        engine = project / "wheels"
        engine.mkdir()
        own = vllm().write(engine)
        lab_image, _ = load_image("lab-vllm-node")
        described = lab_image.model_dump(mode="json") | {
            "name": "tiny",
            "mods": ["tiny"],
            "architectures": [],
            "requirements": "tiny.in",
            "lock": "tiny.lock",
            "variant": {"requirements": "tiny-mimo.in", "lock": "tiny-mimo.lock"},
            "wheels": {
                "directory": f"{ROOT}/wheels",
                "index": f"{ROOT}/simple",
                "required": [{"file": f"{own.name}@sha256:{_sha256(own)}", "origin": "made by this test"}],
            },
        }
        real = [one for one in read_lock((PROJECT / lab_image.lock).read_text()) if one.name in REAL]
        newest = {"torch": "2.11.0+cu130", "transformers": "4.57.6"}
        made = [
            Locked(name, version, (_sha256(path),), LOCKED[name])
            for (name, version), path in offered.items()
            if newest.get(name, version) == version
        ]
        for name in ("tiny.in", "tiny-mimo.in"):
            (project / name).touch()
        (project / "tiny.lock").write_text(lock_text("Tiny.", [*real, *made]))
        five = Locked("transformers", "5.24.0", (_sha256(offered["transformers", "5.24.0"]),))
        (project / "tiny-mimo.lock").write_text(lock_text("Tiny.", [five]))
        for page in (project / "simple").iterdir():
            links = "".join(f'<a href="{path.name}">{path.name}</a>\n' for path in sorted(page.glob("*.whl")))
            (page / "index.html").write_text(f"<!DOCTYPE html>\n{links}")
        tiny = cls(lab, project, Image.model_validate(described))
        tiny._send("wheels", "simple")
        lab.run(HOST, "cp", "--recursive", *(f"/srv/import/wheels/simple/{name}" for name in REAL), f"{ROOT}/simple")
        base = tiny.image.base
        if lab.run(HOST, "docker", "image", "inspect", base.name, check=False).returncode != 0:
            lab.run(HOST, "docker", "load", "--quiet", "--input", str(base.archive))
        return tiny

    def targeting(self, target: str) -> Tiny:
        """The same image by another of the Dockerfile's targets."""
        return replace(self, image=self.image.model_copy(update={"target": target}))

    def rewritten(self, file: str, old: str, new: str) -> None:
        """Replace text in a file of the build context; it must be there."""
        path = self.project / "files/image" / file
        text = path.read_text()
        assert re.search(old, text, re.DOTALL), f"{file} has no {old}"
        path.write_text(re.sub(old, new, text, flags=re.DOTALL))

    def build(self) -> tuple[int, str, str]:
        """Build as the deploy does; returns exit status, the whole log and the tag."""
        inputs = image_inputs(self.image, self.project)
        root, tag = f"build-{inputs.digest[:12]}", f"tiny:{inputs.digest[:12]}"
        for name, content in inputs.context.items():
            path = self.project / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self._send(root)
        words = build_words(self.image, tag, inputs.digest, f"{ROOT}/{root}")
        done = self.lab.run(HOST, *words, check=False, timeout_seconds=300)
        self.tags.append(tag)
        return done.returncode, done.stdout + done.stderr, tag

    def built(self) -> str:
        """Build, which must succeed; returns the tag."""
        status, log, tag = self.build()
        assert status == 0, log[-3000:]
        return tag

    def layers(self, tag: str) -> list[str]:
        """Digests of an image's layers, lowest first."""
        told = self.lab.run(HOST, "docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", tag).stdout
        found: list[str] = json.loads(told)
        return found

    def python(self, tag: str, code: str) -> str:
        """What a line of Python prints inside an image."""
        return self.lab.run(HOST, "docker", "run", "--rm", "--network=none", tag, "python3", "-c", code).stdout.strip()

    def remove(self) -> None:
        """Take everything off the host again."""
        self.lab.run(HOST, "docker", "image", "rm", "--force", *dict.fromkeys(self.tags), check=False)
        self.lab.run(HOST, "rm", "-rf", ROOT)

    def _send(self, *names: str) -> None:
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for name in names:
                archive.add(self.project / name, name)
        unpack = f"mkdir -p {ROOT} && base64 -d | tar -xz -C {ROOT}"
        self.lab.run(HOST, "sh", "-c", unpack, stdin=base64.b64encode(stream.getvalue()).decode())


def _project(project: Path, name: str) -> Path:
    directory = project / "simple" / normalised(name)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
