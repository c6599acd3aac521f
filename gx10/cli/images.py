"""`gx10 images …`: the engine image wherever it is kept."""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
from pathlib import Path

import click
from gx10_host.write.whole import write_whole

from gx10.day_two.images import judged, places, removed, table, verified
from gx10.drift.verdict import DRIFT, ERROR, IN_SYNC, USAGE
from gx10.operations.image import NO_BUILD
from gx10.pins.held import held_hashes, other_hashes, pinned
from gx10.pins.lock import LockError, lock
from gx10.settings import PROJECT, Image, SettingsError, load_image

from .copied import refuse_in_copy
from .described import described
from .pyinfra_command import deployed


@click.group()
def images() -> None:
    """The engine image: in Docker on every host, archived on the head and on this node."""


@images.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_images(as_json: bool) -> None:
    """Show where the described image is, what is archived, what could go and how fast the last transfer was."""
    from rich.console import Console  # noqa: PLC0415 - not needed for JSON

    description = described()
    found = places(description)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(place) for place in found]))
    else:
        console = Console() if sys.stdout.isatty() else Console(width=160)
        console.print(table(description, found))
    if any(place.reason for place in found):
        sys.exit(ERROR)
    sys.exit(DRIFT if judged(description, found) else IN_SYNC)


@images.command()
def build() -> None:
    """Have the described image on every host: restored where it is kept anywhere, else built. Starts nothing."""
    sys.exit(_deploy({}))


@images.command()
def restore() -> None:
    """Bring the image back to every host that lost it, from the nearest archive or host. Never builds."""
    sys.exit(_deploy({NO_BUILD: "1"}))


def _deploy(environment: dict[str, str]) -> int:
    return deployed(described(), "deploys/image.py", environment)


@images.command()
def verify() -> None:
    """Hash both archives whole and compare the image on all hosts: 0 in sync, 2 something differs, 1 unknown."""
    faults, unknown = verified(described())
    for sentence in [*faults, *unknown]:
        click.echo(sentence, err=True)
    if not faults and not unknown:
        click.echo("The image is the same on every host, and its archives hold what they name.")
    sys.exit(ERROR if unknown else DRIFT if faults else IN_SYNC)


@images.command()
@click.option("--dry", is_flag=True, help="Name every byte that would go, and remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def gc(dry: bool, as_json: bool) -> None:
    """Remove images, archives, build cache and build directories that are not kept, each by its name."""
    gone, faults = removed(described(), dry=dry)
    if as_json:
        click.echo(json.dumps([{"place": place, **item} for place, item in gone]))
    else:
        for place, item in gone:
            click.echo(f"{place}: {item['kind']} {item['name']}, {item['bytes'] / 1e6:.1f} MB: {item['why']}")
        total = sum(item["bytes"] for _, item in gone) / 1e9
        click.echo(f"{len(gone)} things, {total:.2f} GB {'would go' if dry else 'gone'}")
    for sentence in faults:
        click.echo(sentence, err=True)
    sys.exit(ERROR if faults else IN_SYNC)


@images.command("lock")
@click.argument("name", default="vllm-node")
@click.option(
    "--wheels",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A directory with the image's own wheels: their hashes are pinned, and what they ask for is locked.",
)
@click.option("--upgrade", is_flag=True, help="Let every version rise that nothing pins, not only what must change.")
def lock_command(name: str, wheels: Path | None, upgrade: bool) -> None:
    """Bring the locks of images/NAME.yaml up to date with what it asks for, and show what changes."""
    refuse_in_copy("images lock")
    try:
        image, file = load_image(name)
    except SettingsError as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE)
    if wheels is not None and not any(wheels.glob("*.whl")):
        click.echo(f"{wheels}: found no wheel, expected the image's own. Name the directory that holds them.", err=True)
        sys.exit(USAGE)
    try:
        texts = _locks(image, wheels, upgrade)
    except (LockError, ValueError) as error:
        click.echo(f"{file}: {error}", err=True)
        sys.exit(ERROR)
    if wheels is not None:
        for wheel, (found, expected) in other_hashes(image, wheels).items():
            click.echo(f"{wheels / wheel} has sha256 {found}, and {file} pins {expected}.", err=True)
            click.echo("Remove the pin there if this file is the one you want, and lock again.", err=True)
            sys.exit(ERROR)
        texts |= {file: pinned((PROJECT / file).read_text(encoding="utf-8"), held_hashes(image, wheels))}
    for target, text in texts.items():
        _write(PROJECT / target, text)


def _locks(image: Image, wheels: Path | None, upgrade: bool) -> dict[str, str]:
    if Path(image.lock).parts[:2] == ("gx10", "lab"):
        from gx10.lab.kit.lock import lock as lock_kit  # noqa: PLC0415 - the lab's libraries are for the lab alone
        from gx10.lab.progress import progress_for  # noqa: PLC0415

        with progress_for() as progress:
            return lock_kit(image, PROJECT, progress, upgrade)
    return lock(image, PROJECT, wheels, upgrade)


def _write(target: Path, text: str) -> None:
    """Replace a file whole, and show the difference that a reviewer will see."""
    before = target.read_text(encoding="utf-8") if target.is_file() else ""
    name = target.relative_to(PROJECT).as_posix()
    if before == text:
        click.echo(f"{name} is up to date.")
        return
    lines = difflib.unified_diff(before.splitlines(), text.splitlines(), name, name, lineterm="", n=0)
    click.echo("\n".join(lines))
    write_whole(target, text.encode())
