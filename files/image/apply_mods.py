#!/usr/bin/env python3
"""Apply every mod below /opt/gx10/mods to the installed packages, once, and record what was done.

A mod is a directory with `*.patch` files (against site-packages, applied in the order of their names), or an `apply.py`
(called with the site-packages directory, prints one JSON object), or both, and a `prove.py`. The record,
/opt/gx10/mods.json, holds the sha256 of each file that a mod touches, so that any host can check it in an instant.
"""

import argparse
import hashlib
import json
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
        return subprocess.run(argv, cwd=site, stdin=stdin, capture_output=True, text=True, check=False)


def touched(patch: Path) -> list[str]:
    """The files that a patch changes."""
    return re.findall(r"^\+\+\+ b/(\S+)", patch.read_text(), re.MULTILINE)


def apply_patch(mod: str, patch: Path, site: Path) -> str:
    """Apply one patch and return how it was done; exits with a sentence when it does not fit."""
    # Inside somebody's git repository, git would silently skip files that the repository ignores.
    git = ["git", f"--git-dir={site}/.no-repository", "apply", "-p1"]
    fuzzy = ["patch", "-p1", FUZZ, "--forward", "--batch", "--no-backup-if-mismatch", "--reject-file=-"]
    if run([*git, "--reverse", "--check"], site, patch).returncode == 0:
        return "already applied"
    strict = run([*git, "--check"], site, patch)
    if strict.returncode == 0:
        run(git, site, patch)
        how = "git apply"
    else:
        trial = run([*fuzzy, "--dry-run"], site, patch)
        if trial.returncode != 0:
            sys.exit(
                f"Mod {mod}: {patch.name} does not fit the installed packages.\n"
                f"git apply said:\n{strict.stderr.strip()}\n"
                f"patch {FUZZ} said:\n{(trial.stdout + trial.stderr).strip()}\n"
                "Rebase the patch on the sources in this wheel, or pin the wheel it was made for."
            )
        run(fuzzy, site, patch)
        how = f"patch {FUZZ}"
    if run([*git, "--reverse", "--check"], site, patch).returncode != 0 and how == "git apply":
        sys.exit(f"Mod {mod}: git said it applied {patch.name}, but {', '.join(touched(patch))} did not change.")
    return how


def apply_mod(directory: Path, site: Path) -> dict[str, object]:
    """Apply one mod and describe what it did."""
    name = directory.name
    record: dict[str, object] = {"patches": {}}
    files = set()
    for patch in sorted(directory.glob("*.patch")):
        record["patches"] |= {patch.name: apply_patch(name, patch, site)}  # type: ignore[operator]
        files |= set(touched(patch))
    if (script := directory / "apply.py").exists():
        done = subprocess.run([sys.executable, script, site], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"Mod {name}: apply.py ended with {done.returncode}: {(done.stderr or done.stdout).strip()}")
        told = json.loads(done.stdout)
        record["note"] = told["note"]
        files |= set(told["files"])
    if not (directory / "prove.py").exists():
        sys.exit(f"Mod {name} has no prove.py. A mod that nobody can check is not baked into an image.")
    record["files"] = {file: hashlib.sha256((site / file).read_bytes()).hexdigest() for file in sorted(files)}
    return record


def main() -> None:
    """Apply all mods in the order of their names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mods", type=Path, default=Path("/opt/gx10/mods"))
    parser.add_argument("--site", type=Path, default=Path(sysconfig.get_path("purelib")))
    parser.add_argument("--record", type=Path, default=Path("/opt/gx10/mods.json"))
    options = parser.parse_args()
    directories = sorted(path for path in options.mods.iterdir() if path.is_dir())
    record = {directory.name: apply_mod(directory, options.site.resolve()) for directory in directories}
    options.record.write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
