"""Wheels for the reconciler's environment: argv[0] is JSON {"directory", "environment", "lock"}; prints JSON.

"installed" tells whether the environment was made from the lock with this digest: then nobody looks at wheels, and
nothing is hashed. Otherwise "wheels" are the files with their sha256, and "python" and "machine" what they must fit.
"""

import hashlib
import json
import pathlib
import platform
import sys

from gx10_host.night.environment import SEAL

asked = {}


def sealed():
    """The lock that the environment was made from; nothing where it is not whole."""
    try:
        return json.loads(pathlib.Path(asked["environment"], SEAL).read_text())["lock"]
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def wheels():
    told = {}
    for path in sorted(pathlib.Path(asked["directory"]).glob("*.whl")):
        with path.open("rb") as wheel:
            told[path.name] = hashlib.file_digest(wheel, "sha256").hexdigest()
    return told


def main(argv):
    asked.update(json.loads(argv[0]))

    installed = sealed() == asked["lock"]
    print(
        json.dumps(
            {
                "installed": installed,
                "wheels": {} if installed else wheels(),
                "python": list(sys.version_info[:2]),
                "machine": platform.machine(),
            }
        )
    )
