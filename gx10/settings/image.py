"""The image description: base, pins, wheels and mods of one engine image. `images/NAME.yaml` holds one."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from .base import Settings
from .types import AbsolutePath

DIGEST = r"sha256:[0-9a-f]{64}"


class BaseImage(Settings):
    """The image that the build starts from."""

    reference: str = Field(pattern=rf"^[^@\s]+(@{DIGEST})?$")
    """Name, tag and digest, as Docker writes them: `NAME:TAG@sha256:…`. The digest decides what is pulled."""

    archive: AbsolutePath | None = Field(default=None, examples=["/srv/import/base/cuda.tar"])
    """An archive on the head to load the base from when the head does not have it; for hosts without Internet."""

    archive_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$", examples=["9f86d0…, 64 digits"])
    """Hash of the archive. An archive loses the digest under which the image was pulled, so it has a pin of its own."""

    unpinned: str = Field(default="", examples=["made on this machine"])
    """Why neither digest nor hash stands here; a base without a pin needs a reason."""

    python: str = Field(default="3.12", pattern=r"^3\.\d+$")
    """Version of the base's Python, for which wheels are chosen when requirements are locked."""

    glibc: str = Field(default="2.39", pattern=r"^2\.\d+$")
    """Version of the base's C library, for the same."""

    @property
    def name(self) -> str:
        """Name and tag without the digest: what a loaded archive is called."""
        return self.reference.partition("@")[0]

    @property
    def built_from(self) -> str:
        """What the build is told to start from."""
        return self.name if self.archive else self.reference

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        pin = self.archive_sha256 if self.archive else "@" in self.reference
        if not pin and not self.unpinned:
            missing = "archive_sha256" if self.archive else "a digest in reference (NAME:TAG@sha256:…)"
            raise ValueError(f"the base has no pin. Add {missing}, or say under unpinned why there is none")
        return self


class Wheel(Settings):
    """One wheel that must lie in the wheel directory before a build."""

    file: str = Field(pattern=rf"^[^/@\s]+\.whl(@{DIGEST})?$")
    """File name and hash in one line, `NAME.whl@sha256:…`, so that a new wheel is a one-line change."""

    origin: str = Field(min_length=1)
    """Where the file comes from: an address, or a sentence that says how to get it."""

    unpinned: str = Field(default="", examples=["published without a hash"])
    """Why no hash is known. `gx10 images lock NAME --wheels DIRECTORY` writes it from the file you hold; until then
    the image is not built."""

    @property
    def name(self) -> str:
        """The file's name alone."""
        return self.file.partition("@")[0]

    @property
    def sha256(self) -> str | None:
        """The pinned hash."""
        return self.file.partition("@sha256:")[2] or None

    @property
    def project(self) -> str:
        """The normalised name of the package, which is the first part of a wheel's file name."""
        return self.file.partition("-")[0].replace("_", "-").lower()

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.sha256 is None and not self.unpinned:
            raise ValueError("the wheel has no hash. Write NAME.whl@sha256:…, or say under unpinned why none is known")
        return self


class Wheels(Settings):
    """Wheels that the build takes from the head instead of an index."""

    directory: AbsolutePath
    """Directory on the head. It is bind-mounted into the build, never copied into a layer."""

    index: AbsolutePath | None = Field(default=None, examples=["/srv/import/wheels/simple"])
    """A package index on the head (PEP 503), seen by the build as `file:///index`; for hosts without Internet."""

    required: tuple[Wheel, ...] = ()
    """Wheels that must be there; nothing else that lies there finds its way into the image."""


class Torch(Settings):
    """The one torch that the engine was built with."""

    version: str = Field(pattern=r"^\d+\.\d+\.\d+(\+\w+)?$")
    """What `torch.__version__` must say, exactly. The build and every check of a host fail otherwise."""

    cuda: str = Field(pattern=r"^\d+\.\d+$")
    """What `torch.version.cuda` must say."""


class Variant(Settings):
    """What an image installs on top of the layers that it shares with another."""

    requirements: str = Field(pattern=r"\.in$", examples=["images/vllm-node-mimo.in"])
    """What is asked for instead of, or beside, the shared requirements."""

    lock: str = Field(pattern=r"\.lock$", examples=["images/vllm-node-mimo.lock"])
    """Every package that is another one for it, with version and hash: written by `gx10 images lock NAME`."""


class Image(Settings):
    """One engine image."""

    extends: str | None = Field(default=None, examples=["vllm-node"])
    """Another image description that this one starts from: only what differs is written here; `null` removes."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    """Repository name of the image; its tag is the digest of its inputs."""

    dockerfile: str = "files/image/Dockerfile"
    """The Dockerfile, relative to the project."""

    target: str = Field(default="vllm-node", pattern=r"^[a-z0-9][a-z0-9._-]*$")
    """The Dockerfile's stage that makes this image. Images of one Dockerfile share every layer below their stages."""

    platform: str = "linux/arm64"
    """Platform of the image."""

    base: BaseImage
    """The image that the build starts from."""

    torch: Torch
    """The one torch that the engine was built with."""

    args: dict[str, str] = Field(default_factory=dict)
    """Build arguments: indexes and Debian packages."""

    wheels: Wheels
    """Wheels taken from the head."""

    build_gib: float = Field(default=60, gt=0)
    """Space, in GiB, that a build needs in Docker's directory; refused before it begins where that is missing."""

    requirements: str = Field(pattern=r"\.in$")
    """What is asked for beside the wheels: one requirement in a line. The lock is made from it."""

    lock: str = Field(pattern=r"\.lock$")
    """Every package that the build installs, with version and hash: written by `gx10 images lock NAME`."""

    variant: Variant | None = None
    """What this image holds instead of, or beside, what the one it extends does."""

    mods: tuple[str, ...] = ()
    """Mods that are baked in: directories below `files/image/mods`."""

    architectures: tuple[str, ...] = Field(default=(), examples=[["Qwen3MoeForCausalLM"]])
    """Model classes to inspect while building, which each start would otherwise do again."""
