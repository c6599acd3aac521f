"""The image description: base, pins, wheels and mods of one engine image. `images/NAME.yaml` holds one."""

from __future__ import annotations

from pydantic import Field

from .model import Settings
from .types import AbsolutePath


class BaseImage(Settings):
    """The image that the build starts from."""

    reference: str = Field(min_length=1)
    """Name and tag or digest."""

    archive: AbsolutePath | None = Field(default=None, examples=["/srv/import/base/cuda.tar"])
    """An archive on the head to load the base from when the head does not have it; for hosts without Internet."""


class Wheel(Settings):
    """One wheel that must lie in the wheel directory before a build."""

    file: str = Field(pattern=r"^[^/]+\.whl$")
    """File name."""

    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$", examples=["9f86d0…, 64 digits"])
    """Hash of the file; left out only where no published hash is known."""


class Wheels(Settings):
    """Wheels that the build takes from the head instead of an index."""

    directory: AbsolutePath
    """Directory on the head. It is bind-mounted into the build, never copied into a layer."""

    required: tuple[Wheel, ...] = ()
    """Wheels that must be there."""


class Image(Settings):
    """One engine image."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    """Repository name of the image; its tag is the digest of its inputs."""

    dockerfile: str = "files/image/Dockerfile"
    """The Dockerfile, relative to the project."""

    base: BaseImage
    """The image that the build starts from."""

    platform: str = "linux/arm64"
    """Platform of the image."""

    args: dict[str, str] = Field(default_factory=dict)
    """Build arguments: indexes, versions and expected version strings."""

    wheels: Wheels
    """Wheels taken from the head."""

    build_gib: float = Field(default=60, gt=0)
    """Space, in GiB, that a build needs in Docker's directory; refused before it begins where that is missing."""

    mods: tuple[str, ...] = ()
    """Mods that are baked in: directories below `files/image/mods`."""

    locks: tuple[str, ...] = Field(default=(), examples=[["images/requirements.lock"]])
    """Further project files whose content decides what the build installs, such as a locked requirement set."""
