"""Old images, archives, build cache and build directories of this host: named with bytes and reason, removed by name.

    gx10-host images plan      what would go, as JSON
    gx10-host images clean     remove it; prints what went, as JSON
    gx10-host images used      put the described image first among those that this host has been told to use
    gx10-host images room      refuse where Docker's directory lacks room for a build

/etc/gx10/images.json says what is described and how much of what was before stays. Never removed: the described image,
those described before it that the policy keeps, images that a container uses, whatever another program made, and
archives of all these.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from gx10_host.content.landing import alone_in, amount
from gx10_host.content.manifest import Manifest, Wrong, read_json, write_json

from .daemon import build_cache, images_of_containers, labelled_images
from .docker import asked, docker_root
from .store import dropped, others, size_of, strays

POLICY = pathlib.Path("/etc/gx10/images.json")
"""What the deploy wants kept."""
LABEL = "gx10.inputs"


def used(policy: Mapping[str, Any]) -> list[str]:
    """References that this host was told to use, the described one first."""
    known = read_json(policy["used"], [])
    before = [name for name in known if isinstance(name, str)] if isinstance(known, list) else []
    return [policy["described"], *(name for name in before if name != policy["described"])]


def kept(policy: Mapping[str, Any]) -> list[str]:
    """References that stay: the described one and those before it that the policy keeps."""
    return used(policy)[: 1 + policy["keep_previous"]]


def plan(policy: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What would go, as a list of {"kind", "name", "bytes", "why"}; asks and reads, changes nothing."""
    going = [*old_archives(policy), *old_builds(policy)]
    return [*old_images(policy), *old_cache(policy), *going] if policy["docker"] else going


def old_images(policy: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Images that this package built and that no container uses and no generation that is kept names."""
    in_use, stays = images_of_containers(), set(kept(policy))
    repositories = {name.rpartition(":")[0] for name in used(policy)}
    for found in labelled_images(LABEL):
        tags = found["tags"]
        ours = [tag for tag in tags if tag.rpartition(":")[0] in repositories]
        if found["id"] in in_use or stays.intersection(tags) or len(ours) < len(tags):
            continue
        why = "no generation that is kept uses it" if tags else "it has lost its name"
        for name in tags or [found["id"]]:
            yield {"kind": "image", "name": name, "bytes": found["size"], "why": why}


def old_archives(policy: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Archived images beyond those that are kept and the last few, and beyond the bytes that are granted."""
    root = pathlib.Path(policy["archive"])
    if not root.is_dir():
        return
    manifests = {manifest["name"]: manifest for manifest in others(root)}
    stays, order = set(kept(policy)), used(policy)
    ranked = sorted(manifests, key=lambda name: order.index(name) if name in order else len(order))
    spare = [name for name in ranked if name not in stays]
    extra = max(0, policy["keep_archives"] - len([name for name in ranked if name in stays]))
    going = spare[extra:]
    if policy["archive_bytes"] is not None:
        for name in reversed(spare[:extra]):
            left = [manifests[other] for other in ranked if other not in going]
            if sum(stored(left).values()) <= policy["archive_bytes"]:
                break
            going.append(name)
    for count, name in enumerate(going):
        rest = [manifests[other] for other in ranked if other not in going[: count + 1]]
        remaining = stored(rest)
        freed = sum(size for path, size in stored([manifests[name]]).items() if path not in remaining)
        yield {
            "kind": "archive",
            "name": name,
            "bytes": freed,
            "why": "newer archives and those in use fill the policy",
        }
    for path in strays(root):
        why = "an interrupted run left it, and no image names it"
        yield {"kind": "stray", "name": str(path), "bytes": size_of(path), "why": why}


def stored(manifests: Iterable[Manifest]) -> dict[str, int]:
    """Bytes of the files that manifests name, each once."""
    return {entry["path"]: entry["size"] for manifest in manifests for entry in manifest["files"]}


def old_cache(policy: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Records of the build cache beyond the bytes that the policy grants it, those first that were unused longest."""
    records = [record for record in build_cache() if not record["InUse"] and not record["Shared"] and record["Size"]]
    total = sum(record["Size"] for record in records)
    for record in sorted(records, key=lambda record: record.get("LastUsedAt") or ""):
        if total <= policy["cache_bytes"]:
            return
        total -= record["Size"]
        why = "the build cache is larger than the policy grants"
        yield {"kind": "cache", "name": record["ID"], "bytes": record["Size"], "why": why}


def old_builds(policy: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Build directories of images that are not described."""
    described = policy["described"].rpartition(":")[2]
    root = pathlib.Path(policy["builds"])
    for path in sorted(root.glob("*")):
        if path.is_dir() and not path.is_symlink() and path.name != described:
            size = sum(size_of(file) for file in path.rglob("*"))
            yield {"kind": "build", "name": str(path), "bytes": size, "why": "another image is described"}


def remove(item: Mapping[str, Any], policy: Mapping[str, Any]) -> str:
    """Remove one thing by its name; what went wrong, in words, or nothing."""
    kind, name = item["kind"], item["name"]
    if kind == "image":
        done = asked("image", "rm", "--", name)
        return done.stderr.strip() if done.returncode else ""
    if kind == "cache":
        done = asked("builder", "prune", "--force", "--filter", f"id={name}")
        return done.stderr.strip() if done.returncode else ""
    if kind == "archive":
        root = pathlib.Path(policy["archive"])
        dropped(root, next(path.name for path in (root / "images").glob("*.json") if read_json(path)["name"] == name))
    elif kind == "stray":
        if pathlib.Path(name).is_dir() and not pathlib.Path(name).is_symlink():
            shutil.rmtree(name)  # Partial files of the rsync that once moved archives.
        else:
            pathlib.Path(name).unlink(missing_ok=True)
    else:
        shutil.rmtree(name)
    return ""


def clean(policy: Mapping[str, Any], only: Collection[str] | None = None) -> list[dict[str, Any]]:
    """Remove what would go, or what of it is among `only`; each with the fault that kept it, if any."""
    gone = []
    with alone_in(pathlib.Path(policy["archive"])):
        for item in plan(policy):
            if only is None or item["name"] in only:
                gone.append(item | {"fault": remove(item, policy)})
    return gone


def room(directory: pathlib.Path, reference: str, need: int) -> None:
    """Refuse before the first byte when an image does not fit, and tell what could go."""
    have = shutil.disk_usage(directory).free
    if need > have:
        raise Wrong(
            f"{reference} needs {amount(need)} in {directory}, {amount(have)} are free, "
            f"{amount(need - have)} are missing. {to_free()}"
        )


def to_free() -> str:
    """What `gx10 images gc` would remove on this host, in words."""
    if read_json(POLICY) is None:
        return "Remove old images by name (`docker image rm`), then run again."
    going = plan(read_json(POLICY))
    total = sum(item["bytes"] for item in going)
    if not total:
        return "`gx10 images gc` would free nothing here: move the directory to a larger disk, or remove other files."
    return f"`gx10 images gc` would free {amount(total)} here; `gx10 images gc --dry` names each. Then run again."


def main(argv: Sequence[str]) -> int:
    import argparse  # A probe uses this module as well, and starts quicker without.

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("plan", "clean", "used", "room"))
    parser.add_argument("--policy", default=str(POLICY))
    parser.add_argument("--only", nargs="*", help="names out of the plan")
    parser.add_argument("--for", dest="purpose", help="what needs room")
    parser.add_argument("--gib", type=float, help="how much of it")
    arguments = parser.parse_args(argv)
    try:
        policy = read_json(arguments.policy)
        if policy is None:
            raise Wrong(f"{arguments.policy} is not there: nobody said what this host shall keep. Run the deploy.")
        if arguments.command == "used":
            write_json(policy["used"], used(policy))
        elif arguments.command == "room":
            room(docker_root(), arguments.purpose, int(arguments.gib * 2**30))
        elif arguments.command == "plan":
            print(json.dumps(plan(policy)))
        else:
            gone = clean(policy, arguments.only)
            print(json.dumps(gone))
            if faults := [f"{item['name']}: {item['fault']}" for item in gone if item["fault"]]:
                raise Wrong(f"not everything could be removed: {'; '.join(faults)}")
    except (Wrong, OSError) as error:
        sys.exit(f"images: {error}")
    return 0
