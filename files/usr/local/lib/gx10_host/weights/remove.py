"""The model root of a host: what lies in it, what of it may go, and the removal of exactly that.

    gx10-host weights plan                  standing and plan as one JSON object; changes nothing
    gx10-host weights clean [--need BYTES]  remove what may go, in the plan's order, until that much is free
    gx10-host weights clean --approved DIGEST [--need BYTES]   the same, if the plan still is the one that was shown

The policy comes on standard input as JSON; `POLICY` says what is in it. Whatever it says: nothing outside of the root
is touched, no link is followed, no mount is entered, and what is served, kept or in transfer stays. What no rule can
name is reported and stays as well.

Whoever removes judges by the very rules that listed, anew, and once more at each path.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from gx10_host.content.manifest import Wrong
from gx10_host.write.whole import sync_directory

from .fence import fenced, in_use, mounts_below, oldest_image
from .rules import Item, Rules
from .tree import Tree, is_locked

POLICY = {
    "root": "the model root",
    "mount": "whether the root must be a mount point",
    "keep": "paths below the root that stay; the served model is one of them",
    "keep_caches": "ORG/NAME of hub caches that stay",
    "known": "paths and ORG/NAME of models that recipes name: they are not `unnamed`",
    "bypassed": "ORG/NAME of a hub to the path below the root that is served instead of its cache",
    "kinds": "which kinds may go",
    "named": "paths below the root that somebody asked to remove, whatever rule they fall under",
    "stale_hours": "how long something unfinished must have been left alone",
}


def judged(policy: Mapping[str, Any]) -> Rules:
    """The rules applied to this host's model root."""
    root = fenced(policy)
    rules = Rules(Tree(root, mounts_below(root)), policy, in_use(root), oldest_image())
    rules.judge()
    return rules


def digest_of(items: Sequence[Item]) -> str:
    """What tells two plans apart; sizes may change while something is written elsewhere."""
    told = [[item.path, item.kind] for item in items]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def told(rules: Rules) -> dict[str, Any]:
    usage = shutil.disk_usage(rules.tree.root)
    return {
        "root": str(rules.tree.root),
        "total": usage.total,
        "free": usage.free,
        "models": rules.models,
        "items": [dataclasses.asdict(item) for item in rules.items],
        "unknown": rules.unknown,
        "digest": digest_of(rules.items),
    }


def remove(tree: Tree, item: Item) -> None:
    """Remove one item, never through a link and never into a mount; what has become something else stays."""
    path = tree.root / item.path
    if path.parent.resolve() != path.parent or tree.root not in path.parents or tree.holds_mount(path):
        raise Wrong(f"{path} now leads out of {tree.root}. It was left alone; look at who changed it.")
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        path.unlink()
        return
    device = tree.root.stat().st_dev
    # From a descriptor to the next, so that a directory that becomes a link meanwhile is not followed.
    for _, directories, files, descriptor in os.fwalk(path, topdown=False, follow_symlinks=False):
        if os.fstat(descriptor).st_dev != device:
            raise Wrong(f"Another file system is mounted in {path}. It was left alone.")
        for name in files:
            os.unlink(name, dir_fd=descriptor)
        for name in directories:
            if stat.S_ISLNK(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=descriptor)
            else:
                os.rmdir(name, dir_fd=descriptor)
    path.rmdir()


def clean(rules: Rules, need: int | None) -> list[Item]:
    """Remove items in the plan's order until enough is free, or all of them; what was removed."""
    gone = []
    for item in rules.items:
        if need is not None and shutil.disk_usage(rules.tree.root).free >= need:
            break
        path = rules.tree.root / item.path
        if is_locked(path):
            continue  # A transfer began since the plan was made.
        remove(rules.tree, item)
        sync_directory(path.parent)
        gone.append(item)
        print(
            f"removed {item.path!r} ({item.kind}, {item.bytes / 1e6:.1f} MB): {item.why}", file=sys.stderr, flush=True
        )
    return gone


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("plan")
    command = commands.add_parser("clean")
    command.add_argument("--need", type=int)
    command.add_argument("--approved")
    arguments = parser.parse_args(argv)
    try:
        rules = judged(json.load(sys.stdin))
        answer = told(rules)
        if arguments.command == "clean":
            if arguments.approved and arguments.approved != answer["digest"]:
                raise Wrong("The plan is not the one that was shown any more. Look at `gx10 models plan` again.")
            answer["removed"] = [dataclasses.asdict(item) for item in clean(rules, arguments.need)]
            answer["free"] = shutil.disk_usage(rules.tree.root).free
        print(json.dumps(answer))
    except (Wrong, OSError) as error:
        sys.exit(f"partition: {error}")
    return 0
