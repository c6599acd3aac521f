"""What stands at some paths: argv[1] is JSON {"paths": [...], "blocks": {path: [begin, end]}}.

Prints JSON {path: null or its state}, where a path with a block also tells the lines between its two marks.
"""

import grp
import hashlib
import json
import pathlib
import pwd
import stat
import sys


def owner(uid):
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group(gid):
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def state(name):
    path = pathlib.Path(name)
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    told = {
        "mode": format(stat.S_IMODE(found.st_mode), "o"),
        "user": owner(found.st_uid),
        "group": group(found.st_gid),
        "kind": "other",
    }
    if stat.S_ISLNK(found.st_mode):
        told["kind"] = "link"
    elif stat.S_ISDIR(found.st_mode):
        told["kind"] = "directory"
    elif stat.S_ISREG(found.st_mode):
        told["kind"] = "file"
        told["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return told


def block(name, begin, end):
    lines = pathlib.Path(name).read_text().splitlines()
    if begin not in lines or end not in lines[lines.index(begin) :]:
        return None
    return lines[lines.index(begin) + 1 : lines.index(end)]


asked = json.loads(sys.argv[1])
told = {name: state(name) for name in asked["paths"]}
for name, marks in asked.get("blocks", {}).items():
    told[name] = state(name)
    if told[name]:
        told[name]["block"] = block(name, *marks)
print(json.dumps(told))
