"""What operations know of hosts: asked once in advance where nothing has changed since, or by the operation itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from gevent.event import AsyncResult, Event
from pyinfra import host, inventory

from gx10.facts import Probe, Survey

Question = tuple[type[Probe], dict[str, Any]]


@dataclass
class _Known:
    """What is known of one host until a command runs on it."""

    surveyed: list[tuple[type[Probe], dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    asked: dict[tuple[object, ...], Any] = field(default_factory=dict)
    surveying: Event | None = None
    """Set when the survey under way has its answers: what others ask of this host waits for them."""


# One process is one run, and pyinfra calls operations without anything of ours to carry between them: what hosts said
# is kept here, by host and by whether the run is executing, and forgotten as soon as a command runs on that host.
_answered: dict[tuple[str, bool], _Known] = {}
_surveyed_first: dict[tuple[str, bool], _Known] = {}
"""What the survey of each host told, whatever has changed since."""
_acted: set[str] = set()
"""Hosts on which this run has run a command."""


def _known(on: str) -> _Known:
    """What is known of a host in this stage: a dry run's answers are not those of the run that follows."""
    return _answered.setdefault((on, host.state.is_executing), _Known())


def forget(on: str) -> None:
    """Ask a host anew: a command has changed it."""
    _answered.pop((on, True), None)
    _answered.pop((on, False), None)
    _acted.add(on)


def survey(questions: list[Question]) -> None:
    """Ask this host everything in one command; a question that it cannot answer is left to whoever asks it later."""
    known = _known(host.name)
    known.surveying = under_way = Event()
    try:
        told = host.get_fact(Survey, questions=[(fact.probe, asked) for fact, asked in questions])
        # Fewer answers than questions: the survey itself ended. Whoever asks the others hears why.
        pairs = zip(questions, told, strict=False)
        known.surveyed = [(fact, asked, answer) for (fact, asked), answer in pairs if answer is not None]
    finally:
        known.surveying = None
        under_way.set()
    _surveyed_first[(host.name, host.state.is_executing)] = known


def surveyed_first(fact: type[Probe], **asked: Any) -> dict[str, Any]:  # noqa: ANN401
    """What the survey told when the run began, for what a run must not count that it has brought about itself."""
    for surveyed, questions, answer in _surveyed_first.get((host.name, host.state.is_executing), _Known()).surveyed:
        if surveyed is fact and _covers(questions, asked):
            return answer
    return ask(fact, **asked)


def ask(fact: type[Probe], on: str | None = None, *, fresh: bool = False, **asked: Any) -> dict[str, Any]:  # noqa: ANN401
    """The answer of a host, by default this one, to a question.

    The survey answers while no command has run on that host since. Otherwise the host is asked once for each
    operation, however many hosts need the answer, so that all of them judge by the same. `fresh` is for what other
    hosts' commands change, such as the gang's containers: a run asks for it anew, once it has run one anywhere.
    """
    name = on or host.name
    known = _known(name)
    if known.surveying:
        known.surveying.wait()
    if not (fresh and _acted):
        for surveyed, questions, answer in known.surveyed:
            if surveyed is fact and _covers(questions, asked):
                return answer
    key = (host.current_op_hash, fact, repr(sorted(asked.items())))
    if key in known.asked:
        shared: dict[str, Any] = known.asked[key].get()
        return shared
    result = known.asked[key] = AsyncResult()
    try:
        own: dict[str, Any] = inventory.get_host(name).get_fact(fact, **asked)
    except BaseException as error:
        result.set_exception(error)
        raise
    result.set(own)
    return own


def _covers(surveyed: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Whether a survey's question holds everything that is asked."""
    for key, wanted in asked.items():
        there = surveyed.get(key)
        if isinstance(wanted, dict):
            covered = isinstance(there, dict) and wanted.items() <= there.items()
        elif isinstance(wanted, list):
            covered = set(wanted) <= set(there or [])
        else:
            covered = there == wanted
        if wanted and not covered:
            return False
    return True
