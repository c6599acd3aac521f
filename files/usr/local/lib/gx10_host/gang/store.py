"""What the head's supervisor keeps: over a restart of itself, over a boot, and for those who look at it."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import time

STATE = pathlib.Path("/var/lib/gx10/gang")
RUN = pathlib.Path("/run/gx10")
INCIDENTS = 100
PHASES = ("gathering", "starting", "serving", "draining", "ending", "stopped", "failed", "deposed")


def forget(state=STATE, run=RUN):
    """Remove what a head shows of the gang, on a host that is none: others would take it for the gang's state."""
    for path in (run / "gang.json", state / "metrics/gx10_gang.prom"):
        path.unlink(missing_ok=True)


class Store:
    """Files of the head's supervisor."""

    def __init__(self, config, state=STATE, run=RUN):
        self.config, self.state, self.run = config, pathlib.Path(state), pathlib.Path(run)
        self.state.mkdir(parents=True, exist_ok=True)
        self.run.mkdir(parents=True, exist_ok=True)
        self.noted = 0.0
        self.last = None

    def past(self):
        """What outlives a boot."""
        fresh = {
            "number": 0, "failures": [], "ends": [], "restarts": 0, "failed": False, "stopped": False, "fallback": 0,
            "good": None, "rolled_back": None, "handled": "", "started_in": None,
        }  # fmt: skip
        past = fresh | (_read(self.state / "past.json") or {})
        now = time.time()
        past["failures"] = [moment for moment in past["failures"] if moment <= now]
        past["fallback"] = min(past["fallback"], len(self.config["fallbacks"]))
        return past

    def present(self):
        """What outlives the supervisor within one boot."""
        return (_read(self.run / "gang.json") or {}).get("now")

    def remember(self, past):
        """Keep what outlives a boot."""
        _write(self.state / "past.json", json.dumps(past), synced=True)

    def wish(self):
        """What an operator or a deploy asked for last."""
        return _read(self.state / "wish.json")

    def note(self, picture):
        """Keep the picture, for `gx10 status` and as metrics; once a second, or when the phase changes."""
        if picture["phase"] == self.last and time.monotonic() - self.noted < 1:
            return
        self.noted, self.last = time.monotonic(), picture["phase"]
        hidden = ("hosts", "fallback_name", "attempts", "in_flight", "misses", "handled", "foreign", "started_in")
        now = {key: value for key, value in picture.items() if key not in hidden}
        _write(self.run / "gang.json", json.dumps({"now": now, "picture": picture}))
        metrics = self.state / "metrics"
        metrics.mkdir(exist_ok=True)
        _write(metrics / "gx10_gang.prom", "".join(metric_lines(self.config, picture)))

    def incident(self, record):
        """Append to the list of incidents, which is kept short."""
        path = self.state / "incidents.jsonl"
        lines = path.read_text().splitlines()[-INCIDENTS:] if path.exists() else []
        _write(path, "\n".join([*lines, json.dumps(record)]) + "\n")

    def alert(self, event, sentence):
        """Tell the hook, if there is one; it cannot hold the supervisor up."""
        if not self.config["hook"]:
            return
        told = {"event": event, "cluster": self.config["cluster"], "sentence": sentence, "time": time.time()}
        try:
            process = subprocess.Popen(
                [self.config["hook"], event], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, text=True, start_new_session=True,
            )  # fmt: skip
            process.stdin.write(json.dumps(told))
            process.stdin.close()
        except OSError as error:
            print(f"gang: the hook {self.config['hook']} cannot be run: {error}", flush=True)


def metric_lines(config, picture):
    """The picture as a Prometheus textfile."""
    cluster = f'cluster="{config["cluster"]}"'
    generation, _, number = picture["life"].rpartition(".")
    yield "# TYPE gx10_gang_phase gauge\n"
    for phase in PHASES:
        yield f'gx10_gang_phase{{{cluster},phase="{phase}"}} {int(picture["phase"] == phase)}\n'
    yield "# TYPE gx10_gang_life_info gauge\n"
    yield f'gx10_gang_life_info{{{cluster},generation="{generation}",life="{number}"}} 1\n'
    for name, kind, value in (
        ("restarts_total", "counter", picture["restarts"]),
        ("attempts_failed", "gauge", picture["failures"]),
        ("attempts_allowed", "gauge", picture["attempts"]),
        ("fallback", "gauge", picture["fallback"]),
        ("rolled_back", "gauge", int(bool(picture["rolled_back"]))),
        ("canary_misses", "gauge", picture["misses"]),
        ("since_seconds", "gauge", round(picture["since"], 3)),
        ("noted_seconds", "gauge", round(time.time(), 3)),
    ):
        yield f"# TYPE gx10_gang_{name} {kind}\ngx10_gang_{name}{{{cluster}}} {value}\n"
    yield "# TYPE gx10_gang_foreign_orders gauge\n"
    for sender in picture["foreign"]:
        labels = f'head="{sender["head"]}",address="{sender["address"]}"'
        yield f"gx10_gang_foreign_orders{{{cluster},{labels}}} {sender['orders']}\n"
    yield "# TYPE gx10_gang_host_silent_seconds gauge\n"
    for host, told in picture["hosts"].items():
        yield f'gx10_gang_host_silent_seconds{{{cluster},host="{host}"}} {told["silent_seconds"]}\n'


def _read(path):
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _write(path, text, synced=False):
    partial = path.with_name(f"{path.name}.new")
    with partial.open("w") as file:
        file.write(text)
        if synced:
            file.flush()
            os.fsync(file.fileno())
    partial.replace(path)
