"""`gx10 status`: hosts by what matters, readable at a glance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from gx10.access.remote import Answer, ask
from gx10.access.suspension import Suspension, suspension_file
from gx10.described import gang_files, units
from gx10.described.description import Description
from gx10.described.image_inputs import LABEL
from gx10.probes import probes_words

GOOD, WAITING, BAD, UNKNOWN = "green", "yellow", "red", "magenta"
FOREIGN_NOW_SECONDS = 5
"""A head orders every second; one that was last heard longer ago has stood down or is off."""


def ask_status(description: Description) -> dict[str, Answer]:
    """Ask every host for its status at once."""
    cluster = description.cluster

    def question(host: str) -> list[str]:
        head = host == cluster.head
        containers = [units.RAY_CONTAINER, *([units.ENGINE_CONTAINER] if head else [])]
        parts = [gang_files.ray_unit(cluster, host), gang_files.GANG_UNIT]
        parts += [gang_files.ENGINE_UNIT] if head else []
        return probes_words(
            ("docker", {"images": [description.image_reference], "containers": containers}),
            ("content", {"model": description.model_directory}),
            ("system", {"units": parts}),
            (
                "serving",
                {
                    "url": description.local_url if head else None,
                    "suspension": suspension_file(description) if head else None,
                },
            ),
        )

    return ask(description, question, cluster.hosts)


def status_table(description: Description, answers: dict[str, Answer]) -> Table:
    """One row a host, one column a concern."""
    cluster = description.cluster
    table = Table(title=f"cluster {cluster.name}, recipe {cluster.recipe}", title_justify="left")
    for column in ("host", "reachable", "image", "weights", "supervisor", "Ray", "engine", "memory free"):
        table.add_column(column, no_wrap=column == "host")
    for host, answer in answers.items():
        name = f"{host} (head)" if host == cluster.head else host
        if not answer.ok:
            table.add_row(name, Text(answer.reason, BAD), *[Text("unknown", UNKNOWN)] * 6)
            continue
        state = _State.of(description, host, answer)
        table.add_row(
            name,
            Text("yes", GOOD),
            _image(description, state.image),
            _weights(state.weights),
            state.supervisor(),
            state.part(gang_files.ray_unit(cluster, host), units.RAY_CONTAINER),
            _engine(description, state) if host == cluster.head else Text("-"),
            Text(f"{state.memory['available_gib']:.0f} of {state.memory['total_gib']:.0f} GiB"),
        )
    return table


def gang_line(description: Description, answers: dict[str, Answer]) -> Text:
    """What the head's supervisor says of the gang: phase, life, what is waited for, given up or put back."""
    answer = answers[description.cluster.head]
    gang = answer.value[3].get("gang") if answer.ok else None
    beside = _suspended(answer, datetime.now(UTC)) if answer.ok else ""
    if gang is None:
        return Text(f"gang: unknown, the head's supervisor does not answer{beside}", UNKNOWN)
    told = f"gang: {gang['phase']} {gang['life']}"
    style = GOOD if gang["phase"] == "serving" else BAD if gang["phase"] == "failed" else WAITING
    if gang["phase"] == "failed":
        told += f"; the budget is spent: {gang.get('spent', '')}. `gx10 start` resumes"
    if gang["phase"] == "deposed":
        told, style = f"{told}; this head stands down: {gang['reason']}", BAD
    if gang["failures"] and gang["phase"] != "failed":
        told += f"; {gang['failures']} of {gang['attempts']} attempts failed"
    if gang["fallback"]:
        told, style = (
            f"{told}; fallback {gang['fallback']} ({gang['fallback_name']}), `gx10 start --full` undoes it",
            WAITING,
        )
    if back := gang.get("rolled_back"):
        told, style = f"{told}; {back['from']} did not start and {back['to']} was put back", WAITING
    waiting = "".join(f"\n  waits: {reason}" for reason in gang["waiting"])
    foreign = "".join(f"\n  {_foreign(sender)}" for sender in gang.get("foreign", []))
    wrong = "".join(f"\n  {sentence}" for sentence in _wrong(gang))
    return Text(told + waiting + foreign + wrong + beside, style)


def _wrong(gang: dict[str, Any]) -> Iterator[str]:
    """What supervisors were sent that was no message, and which of their own steps failed."""
    for sender in gang.get("malformed", []):
        sent = f"{sender['messages']} malformed messages from {sender['address']} to {', '.join(sender['hosts'])}"
        yield f"{sent}, refused: {sender['reason']}"
    for fault in gang.get("faults", []):
        yield f"supervisor of {fault['host']}: {fault['step']} failed {fault['times']} times: {fault['error']}"


def _foreign(sender: dict[str, Any]) -> str:
    """Who else gives orders to hosts of this gang."""
    now = datetime.now(UTC).timestamp()
    since = datetime.fromtimestamp(sender["since"], UTC).strftime("%Y-%m-%d %H:%M:%S")
    last = "still does" if now - sender["last"] < FOREIGN_NOW_SECONDS else f"last {now - sender['last']:.0f} s ago"
    return (
        f"foreign head {sender['head']} ({sender['address']}, cluster {sender['cluster']}): "
        f"{sender['orders']} orders to {', '.join(sender['hosts'])} since {since} UTC, {last}; all were refused"
    )


def _suspended(answer: Answer, now: datetime) -> str:
    """That runs are suspended, by whom, until when and why; nothing where they are not."""
    told = answer.value[3].get("suspension")
    try:
        suspension = Suspension.read(told, now)
    except ValueError as error:
        return f"\n  {error}; `gx10 resume` removes it"
    if suspension is None:
        return ""
    until = suspension.until.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    who = f"{suspension.owner} until {until}: {suspension.reason}"
    return f"\n  nightly runs are suspended by {who}; `gx10 resume` ends it"


def serving(description: Description, answers: dict[str, Answer]) -> bool:
    """Whether every host answered, has the described image and weights and runs its part, and the head serves."""
    cluster = description.cluster
    shown: list[Text] = []
    for host, answer in answers.items():
        if not answer.ok:
            return False
        state = _State.of(description, host, answer)
        shown += [_image(description, state.image), _weights(state.weights)]
        shown.append(state.part(gang_files.ray_unit(cluster, host), units.RAY_CONTAINER))
        shown.append(state.supervisor())
        if host == cluster.head:
            shown += [_engine(description, state), gang_line(description, answers)]
    return all(text.style == GOOD for text in shown)


@dataclass(frozen=True)
class _State:
    """What one host answered, by concern."""

    image: dict[str, Any] | None
    weights: dict[str, Any] | None
    units: dict[str, dict[str, str]]
    containers: dict[str, Any]
    described: str | None
    models: list[str]
    memory: dict[str, float]

    @classmethod
    def of(cls, description: Description, host: str, answer: Answer) -> _State:
        docker, content, system, served = answer.value
        return cls(
            image=docker["images"][description.image_reference],
            weights=content["model"],
            units=system["units"],
            containers=docker["containers"],
            described=served["described"],
            models=served["models"] or [],
            memory=served["memory"],
        )

    def supervisor(self) -> Text:
        """State of the host's supervisor."""
        active = self.units.get(gang_files.GANG_UNIT, {}).get("ActiveState", "unknown")
        return Text(active, GOOD if active == "active" else BAD)

    def part(self, unit: str, container: str) -> Text:
        """State of a unit of the gang, and whether its container is of the described generation."""
        state = self.units.get(unit, {})
        active = state.get("ActiveState", "unknown")
        if state.get("LoadState") == "not-found":
            return Text("not installed", BAD)
        if active != "active":
            return Text(f"{active} ({state.get('SubState')})", WAITING if active == "activating" else BAD)
        generation = ((self.containers.get(container) or {}).get("labels") or {}).get(units.GENERATION_LABEL)
        return Text("active", GOOD) if generation == self.described else Text("active, older generation", WAITING)


def _image(description: Description, image: dict[str, Any] | None) -> Text:
    if image is None:
        return Text("missing", BAD)
    if image["labels"].get(LABEL) != description.inputs.digest:
        return Text("other inputs", BAD)
    return Text(description.inputs.digest[:12], GOOD)


def _weights(weights: dict[str, Any] | None) -> Text:
    if weights is None:
        return Text("missing", BAD)
    size = f"{weights['files']} files, {weights['bytes'] / 1e9:.2f} GB"
    unproven = len(weights["unproven"])
    return Text(f"{unproven} unproven of {size}", BAD) if unproven else Text(size, GOOD)


def _engine(description: Description, state: _State) -> Text:
    part = state.part(gang_files.ENGINE_UNIT, units.ENGINE_CONTAINER)
    if part.plain != "active":
        return part
    if description.served_name not in state.models:
        return Text("active, but its API does not answer", BAD)
    return Text(f"serves {description.served_name}", GOOD)
