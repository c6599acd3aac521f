"""What the head's supervisor keeps: over a restart of itself, over a boot, and for those who look at it."""

from __future__ import annotations

import json
import pathlib
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from gx10_host import checked
from gx10_host.wire import Life
from gx10_host.write.whole import write_whole

from .state import PHASES, Past, Present, Wish

T = TypeVar("T")
STATE = pathlib.Path("/var/lib/gx10/gang")
RUN = pathlib.Path("/run/gx10")
INCIDENTS = 100
LONGEST = 4 * 1024 * 1024
"""No file of the state is longer."""
SILENT: Callable[[str], object] = lambda _: None  # noqa: E731


def forget(state: pathlib.Path = STATE, run: pathlib.Path = RUN) -> None:
    """Remove what a head shows of the gang, on a host that is none: others would take it for the gang's state."""
    for path in (run / "gang.json", state / "metrics/gx10_gang.prom"):
        path.unlink(missing_ok=True)


class Store:
    """Files of the head's supervisor."""

    def __init__(
        self,
        config: Mapping[str, Any],
        state: str | pathlib.Path = STATE,
        run: str | pathlib.Path = RUN,
        tell: Callable[[str], object] = SILENT,
    ) -> None:
        self.config, self.state, self.run, self.tell = config, pathlib.Path(state), pathlib.Path(run), tell
        self.state.mkdir(parents=True, exist_ok=True)
        self.run.mkdir(parents=True, exist_ok=True)
        self.noted = 0.0
        self.last: str | None = None
        self.complaint = ""

    def past(self) -> Past:
        """What outlives a boot."""
        past = self._salvaged(Past, self.state / "past.json", self._read(self.state / "past.json"))
        now = time.time()
        past.failures = tuple(moment for moment in past.failures if moment <= now)
        past.fallback = min(past.fallback, len(self.config["fallbacks"]))
        return past

    def present(self) -> Present:
        """What outlives the supervisor within one boot; as at a boot where it names no life to go on with."""
        path = self.run / "gang.json"
        document = (self._read(path) or {}).get("now")
        present = self._salvaged(Present, path, document)
        if present.phase in ("starting", "serving", "draining", "ending") and present.life is None:
            return Present()
        return present

    def remember(self, past: Past) -> None:
        """Keep what outlives a boot."""
        write_whole(self.state / "past.json", checked.to_bytes(past))

    def wish(self) -> Wish | None:
        """What an operator or a deploy asked for last."""
        document = self._read(self.state / "wish.json")
        if document is None:
            return None
        try:
            return checked.read(Wish, document, newer=True)
        except checked.Refused as refused:
            self._complain(f"gang: {self.state / 'wish.json'} is no wish, and is passed over: {refused}")
            return None

    def note(self, present: Present, shown: Callable[[], Mapping[str, Any]]) -> None:
        """Keep the present, and the picture for status and metrics; once a second, or when the phase changes."""
        if present.phase == self.last and time.monotonic() - self.noted < 1:
            return
        self.noted, self.last = time.monotonic(), present.phase
        picture = shown()
        write_whole(self.run / "gang.json", checked.to_bytes({"now": present, "picture": picture}), synced=False)
        metrics = self.state / "metrics"
        metrics.mkdir(exist_ok=True)
        lines = "".join(metric_lines(self.config, picture))
        write_whole(metrics / "gx10_gang.prom", lines.encode(), synced=False)

    def incident(self, record: Mapping[str, Any]) -> None:
        """Append to the list of incidents, which is kept short."""
        path = self.state / "incidents.jsonl"
        lines = path.read_bytes().splitlines()[-INCIDENTS:] if path.exists() else []
        write_whole(path, b"\n".join([*lines, json.dumps(checked.plain(record)).encode()]) + b"\n")

    def alert(self, event: str, sentence: str) -> None:
        """Tell the hook, if there is one; it cannot hold the supervisor up."""
        if not self.config["hook"]:
            return
        alert = {"event": event, "cluster": self.config["cluster"], "sentence": sentence, "time": time.time()}
        try:
            process = subprocess.Popen(
                [self.config["hook"], event], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL, text=True, start_new_session=True,
            )  # fmt: skip
            if process.stdin:
                process.stdin.write(json.dumps(alert))
                process.stdin.close()
        except OSError as error:
            self.tell(f"gang: the hook {self.config['hook']} cannot be run: {error}")

    def _read(self, path: pathlib.Path) -> dict[str, Any] | None:
        """A file's object; None where there is none, or none that can be read."""
        try:
            with path.open("rb") as file:
                return checked.parse(file.read(LONGEST + 1), LONGEST)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._complain(f"gang: {path} cannot be read, and is as if it had not been written: {error}")
            return None

    def _salvaged(self, kind: type[T], path: pathlib.Path, document: object) -> T:
        if document is None:
            return kind()
        state, lost = checked.salvage(kind, document)
        for sentence in lost:
            self._complain(f"gang: {path}: {sentence}; that alone is as if it had not been written")
        return state

    def _complain(self, sentence: str) -> None:
        """Say once what is asked for again and again."""
        if sentence != self.complaint:
            self.complaint = sentence
            self.tell(sentence)


def metric_lines(config: Mapping[str, Any], picture: Mapping[str, Any]) -> Iterator[str]:
    """The picture as a Prometheus textfile."""
    cluster = f'cluster="{config["cluster"]}"'
    life = Life.parse(picture["life"]) if picture["life"] else None
    generation, number = (life.generation, life.number) if life else ("", "")
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
    yield "# TYPE gx10_gang_malformed_messages gauge\n"
    for sender in picture["malformed"]:
        labels = f'address="{sender["address"]}",hosts="{" ".join(sender["hosts"])}"'
        yield f"gx10_gang_malformed_messages{{{cluster},{labels}}} {sender['messages']}\n"
    yield "# TYPE gx10_gang_supervisor_faults gauge\n"
    faults: Counter[tuple[str, str]] = Counter()
    for fault in picture["faults"]:
        faults[fault["host"], fault["step"]] += fault["times"]
    for (host, step), times in faults.items():
        yield f'gx10_gang_supervisor_faults{{{cluster},host="{host}",step="{step}"}} {times}\n'
    yield "# TYPE gx10_gang_host_silent_seconds gauge\n"
    for host, state in picture["hosts"].items():
        yield f'gx10_gang_host_silent_seconds{{{cluster},host="{host}"}} {state["silent_seconds"]}\n'
