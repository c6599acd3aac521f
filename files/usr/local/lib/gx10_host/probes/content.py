"""What is stored: argv[0] is JSON, prints one JSON object. All that is asked is optional:

`archive` is the archive directory, `image` the file name of an image's manifest in it, `model` a directory of weights;
`root` the model root, `cache` the ORG/NAME of a hub's cache there, `source` a directory to copy from, `secret` a file.
A file counts as proven when size and modification time are those recorded when its hash was last checked.
"""

import json
import os
import pathlib
import stat

from gx10_host.content.manifest import MANIFEST, PARTIAL, PROVEN, digest_of_manifest


def read(path):
    """A JSON object, or None: a file that is none says as little as one that is absent."""
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


def unproven(root, manifest, proven):
    """Paths of the manifest that are absent or not as they were when proven."""
    wrong = []
    for entry in manifest["files"]:
        try:
            found = (root / entry["path"]).lstat()
        except OSError:
            wrong.append(entry["path"])
            continue
        if (
            not stat.S_ISREG(found.st_mode)
            or found.st_size != entry["size"]
            or proven.get(entry["path"]) != [entry["sha256"], found.st_mtime_ns]
        ):
            wrong.append(entry["path"])
    return wrong


def stored(root, manifest_file, proven_file):
    manifest = read(manifest_file)
    if not manifest or not isinstance(manifest.get("files"), list):
        return None
    wrong = unproven(root, manifest, read(proven_file) or {})
    sizes = {entry["path"]: entry["size"] for entry in manifest["files"]}
    return {
        "digest": digest_of_manifest(manifest),
        "files": len(manifest["files"]),
        "bytes": sum(entry["size"] for entry in manifest["files"]),
        "unproven": wrong,
        "missing_bytes": sum(max(0, sizes[path] - allocated(root / (path + PARTIAL))) for path in wrong),
        "source": manifest.get("source"),
        "layers": manifest.get("layers"),
    }


def allocated(path):
    try:
        return path.lstat().st_blocks * 512
    except OSError:
        return 0


def bytes_in(directory, sizes=False):
    """Bytes of the files below a directory: on the disk, or as they are long; None where it does not exist."""
    if not directory.is_dir():
        return None
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            try:
                found = pathlib.Path(parent, name).stat()
            except OSError:
                continue
            total += found.st_size if sizes else found.st_blocks * 512
    return total


def free_in(directory):
    while not directory.exists():
        directory = directory.parent
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def cached(root, name):
    """Bytes of a repository in the hub caches of the model root, which can stand under a second name."""
    repository = "models--" + name.replace("/", "--")
    return max(bytes_in(root / cache / repository / "blobs") or 0 for cache in ("", "hub"))


def main(argv):
    asked = json.loads(argv[0])
    told = {}
    if asked.get("archive"):
        archive = pathlib.Path(asked["archive"])
        told["archive"] = stored(archive, archive / "images" / asked["image"], archive / PROVEN)
        told["archive_files"] = sum(len(list((archive / part).glob("*"))) for part in ("images", "blobs/sha256"))
    if asked.get("model"):
        model = pathlib.Path(asked["model"])
        told["model"] = stored(model, model / MANIFEST, model / PROVEN)
    if asked.get("root"):
        root = pathlib.Path(asked["root"])
        told["free"] = free_in(root)
        told["present"] = bytes_in(model) or 0
        told["cached"] = cached(root, asked["cache"]) if asked.get("cache") else 0
        told["source_bytes"] = bytes_in(pathlib.Path(asked["source"]), sizes=True) if asked.get("source") else None
    if asked.get("secret"):
        secret = pathlib.Path(asked["secret"])
        told["secret"] = f"{stat.S_IMODE(secret.stat().st_mode):o}" if secret.is_file() else None
    print(json.dumps(told))
