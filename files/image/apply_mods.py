#!/usr/bin/env python3
"""Apply every mod below /opt/gx10/mods to the installed packages, once, and record what was done.

A mod is a directory with `*.patch` files (against site-packages, applied in the order of their names), an `apply.py`
(called with the site-packages directory, prints one JSON object) or a `run.sh` as mods of spark-vllm-docker have it,
and a `prove.py`. The record, /opt/gx10/mods.json, holds the sha256 of each file that a mod touches, so that any host
can check it in an instant.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

# Upstream files drift by a few lines from wheel to wheel; patch(1) then still finds the place that git will not guess.
FUZZ = "--fuzz=5"


def run(argv: list[str], site: Path, patch: Path) -> subprocess.CompletedProcess[str]:
    """Run a patching command inside site-packages with the patch on its standard input."""
    with patch.open("rb") as stdin:
        return subprocess.run(
            argv, cwd=site, stdin=stdin, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
        )


def touched(patch: Path) -> list[str]:
    """The files that a patch changes."""
    return re.findall(r"^\+\+\+ b/(\S+)", patch.read_text(), re.MULTILINE)


def failures(told: str) -> list[str]:
    """File and hunk of everything that patch(1) says it could not place."""
    found, file = [], "an unnamed file"
    for line in told.splitlines():
        if match := re.match(r"(?:checking|patching) file '?([^'\n]+?)'?$", line):
            file = match[1]
        elif match := re.match(r"Hunk #(\d+) FAILED at (\d+)", line):
            found.append(f"{file}, hunk {match[1]} (line {match[2]})")
        elif match := re.match(r"\|\+\+\+ b/(\S+)", line):
            found.append(f"{match[1]}, which is not there")
    return found


def apply_patch(mod: str, patch: Path, site: Path) -> str:
    """Apply one patch, prove that it is in, and return how it was done; exits with a sentence when it does not fit."""
    # Inside somebody's git repository, git would silently skip files that the repository ignores.
    git = ["git", f"--git-dir={site}/.no-repository", "apply", "-p1"]
    fuzzy = ["patch", "-p1", FUZZ, "--batch", "--no-backup-if-mismatch", "--reject-file=-"]
    if run([*git, "--reverse", "--check"], site, patch).returncode == 0:
        return "already applied"
    strict = run([*git, "--check"], site, patch)
    if strict.returncode == 0:
        how, apply, undo = "git apply", git, [*git, "--reverse", "--check"]
    else:
        trial = run([*fuzzy, "--forward", "--dry-run"], site, patch)
        if trial.returncode != 0:
            told = (trial.stdout + trial.stderr).strip()
            sys.exit(
                f"Mod {mod}: {patch.name} does not fit the installed packages: "
                f"{'; '.join(failures(told)) or 'nothing in it can be placed'}.\n"
                f"git apply said:\n{strict.stderr.strip()}\n"
                f"patch {FUZZ} said:\n{told}\n"
                "Rebase the patch on the sources in this wheel, or pin the wheel it was made for."
            )
        how, apply, undo = f"patch {FUZZ}", [*fuzzy, "--forward"], [*fuzzy, "--reverse", "--force", "--dry-run"]
    run(apply, site, patch)
    # What is in can be taken out again: a tool that only says that it did something would fail here.
    if (proof := run(undo, site, patch)).returncode != 0:
        sys.exit(
            f"Mod {mod}: {how} said it applied {patch.name}, but it is not in {', '.join(touched(patch))}:\n"
            f"{(proof.stdout + proof.stderr).strip()}"
        )
    return how


def states(*roots: Path) -> dict[Path, tuple[int, int, int]]:
    """What tells a changed file from an unchanged one without reading it, for every file below some directories."""
    found = {}
    for root in roots:
        for directory, below, files in os.walk(root):
            below[:] = [name for name in below if name != "__pycache__"]
            for name in files:
                stat = (path := Path(directory, name)).lstat()
                found[path] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return found


def run_script(name: str, script: Path, site: Path) -> set[Path]:
    """Run a mod's run.sh as spark-vllm-docker does, and return the files that it changed, made or removed."""
    workspace = Path.cwd()
    before = states(site, workspace)
    environment = {**os.environ, "WORKSPACE_DIR": str(workspace), "PYTHON_ROOT": str(site)}
    done = subprocess.run(
        ["bash", str(script)], cwd=script.parent, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"Mod {name}: run.sh ended with {done.returncode}:\n{done.stdout.strip()}")
    after = states(site, workspace)
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def digest(path: Path) -> "str | None":
    """The sha256 of a file; None for one that a mod took away."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def apply_mod(directory: Path, site: Path) -> dict[str, object]:
    """Apply one mod and describe what it did; files outside site-packages are recorded by their whole path."""
    name = directory.name
    patches, files = {}, set()
    record: dict[str, object] = {"patches": patches}
    for patch in sorted(directory.glob("*.patch")):
        patches[patch.name] = apply_patch(name, patch, site)
        files |= {site / file for file in touched(patch)}
    if (script := directory / "apply.py").exists():
        done = subprocess.run([sys.executable, script, site], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"Mod {name}: apply.py ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")
        told = json.loads(done.stdout)
        record["note"] = told["note"]
        files |= {site / file for file in told["files"]}
    if (script := directory / "run.sh").exists():
        changed = run_script(name, script, site)
        record["note"] = f"run.sh changed {len(changed)} files"
        files |= changed
    elif not (directory / "prove.py").exists():
        sys.exit(f"Mod {name} has no prove.py. A mod that nobody can check is not baked into an image.")
    paths = {str(path.relative_to(site) if path.is_relative_to(site) else path): path for path in files}
    record["files"] = {file: digest(paths[file]) for file in sorted(paths)}
    return record


def main() -> None:
    """Apply all mods in the order of their names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mods", type=Path, default=Path("/opt/gx10/mods"))
    parser.add_argument("--site", type=Path, default=Path(sysconfig.get_path("purelib")))
    parser.add_argument("--record", type=Path, default=Path("/opt/gx10/mods.json"))
    options = parser.parse_args()
    directories = sorted(path for path in options.mods.iterdir() if path.is_dir())
    record = {directory.name: apply_mod(directory.resolve(), options.site.resolve()) for directory in directories}
    options.record.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
