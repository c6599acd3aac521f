"""Negative controls: each thing that the installed night stands on is taken away once, and the night is red for it."""

from __future__ import annotations

import pytest

from gx10.described import watch_files
from gx10.drift.verdict import Status
from gx10.lab.lab import Lab

from .installed import HEAD, begin, deployed, ended, hook_lines, injected, night, report, run_names, unit

pytestmark = pytest.mark.lab

SERVICE = f"/etc/systemd/system/{watch_files.SERVICE}"
TAKEN_AWAY = {
    "the unit's ReadWritePaths": f"sed -i '/^ReadWritePaths=/d' {SERVICE}; systemctl daemon-reload",
    "its known hosts": f"rm {watch_files.KNOWN_HOSTS}",
    "one wheel of its environment": f"rm -r {watch_files.ROOT}/env-*/lib/python3*/site-packages/yaml",
    "setpriv": "mv /usr/bin/setpriv /usr/bin/setpriv.aside",
    "capset for setpriv": f"sed -i '/^SystemCallFilter=capset/d' {SERVICE}; systemctl daemon-reload",
    "its key": f"rm {watch_files.KEY}",
    "its environment's Python": f"rm {watch_files.ROOT}/env-*/bin/python3",
}
"""What is taken away, and how."""


@pytest.mark.parametrize("what", list(TAKEN_AWAY))
def test_a_night_without_it_fails_and_says_so(lab: Lab, what: str) -> None:
    before, told_before = run_names(lab), len(hook_lines(lab))
    injected(lab, HEAD, TAKEN_AWAY[what])
    try:
        begin(lab, check=False)
        ended(lab)
        ending = unit(lab)
        made = [report(lab, name) for name in run_names(lab) if name not in before]
        told = hook_lines(lab)[told_before:]
    finally:
        injected(lab, HEAD, "[ ! -e /usr/bin/setpriv.aside ] || mv /usr/bin/setpriv.aside /usr/bin/setpriv")
        deployed()
    assert ending.result != "success", f"the night does without {what}: nothing here would notice if it were gone"
    assert all(run.status in {Status.FAILED, Status.UNKNOWN} for run in made), made
    # Where not even its state can be written, the hook of this lab, which writes there, has no way to note it.
    assert told or what == "the unit's ReadWritePaths", "nobody was told"
    assert night(lab).status == 0
