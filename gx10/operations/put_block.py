"""Runs on a host: put lines between two marks at the top of a file, described as JSON on standard input."""

import json
import os
import pathlib
import shutil
import sys

asked = json.load(sys.stdin)
path = pathlib.Path(asked["path"])
begin, end = asked["marks"]
lines = path.read_text().splitlines() if path.exists() else []
if begin in lines and end in lines[lines.index(begin) :]:
    del lines[lines.index(begin) : lines.index(end) + 1]
text = "\n".join([begin, *asked["lines"], end, *lines]) + "\n"
partial = path.with_name(f".{path.name}.gx10-partial")
with partial.open("w") as target:
    target.write(text)
    target.flush()
    os.fsync(target.fileno())
if path.exists():
    shutil.copymode(path, partial)
partial.rename(path)
