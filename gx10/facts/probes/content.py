"""What is stored: argv[1] is JSON {"archive", "image", "model"}; prints one JSON object.

`archive` is the archive directory, `image` the file name of an image's manifest in it, `model` a directory of weights.
A file counts as proven when size and modification time are those recorded when its hash was last checked.
"""

import hashlib
import json
import pathlib
import stat
import sys

MANIFEST = ".gx10-manifest.json"
PROVEN = ".gx10-proven.json"


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
    return {
        "digest": hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest(),
        "files": len(manifest["files"]),
        "bytes": sum(entry["size"] for entry in manifest["files"]),
        "unproven": unproven(root, manifest, read(proven_file) or {}),
        "layers": manifest.get("layers"),
    }


asked = json.loads(sys.argv[1])
told = {}
if asked.get("archive"):
    archive = pathlib.Path(asked["archive"])
    told["archive"] = stored(archive, archive / "images" / asked["image"], archive / PROVEN)
    told["archive_files"] = sum(len(list((archive / part).glob("*"))) for part in ("images", "blobs/sha256"))
if asked.get("model"):
    model = pathlib.Path(asked["model"])
    told["model"] = stored(model, model / MANIFEST, model / PROVEN)
print(json.dumps(told))
