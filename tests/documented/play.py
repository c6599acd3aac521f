"""Plays one scenario: the situation is brought about, what its page says is typed, and the lab is healed."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from .case import Meanwhile, Scenario, Shown, Step, Typed
from .stage import PageFaultError, Said, Stage, plain

SHOWN = 2500
"""Characters of output that a failure shows."""
WORDS = (
    (r"…", r".*?"),
    (r"gx10-\d", r"gx10-\d(?:, gx10-\d)*"),
    (r"(?<![\w.-])/[\w./-]*\w", r"/[\w./-]*\w"),
    (r"\d[\d.]*(?:\+cpu|\+cu\d+)", r"\d[\d.]*\+c\w+"),
    (r"\d+(?:\.\d+)*", r"\d+(?:\.\d+)*"),
    (r"\bGB\b", r"[MG]B"),
    (r"\bada@desk\b", r"\S+@\S+"),
    (r"\bada\b", r"\S+"),
    (r"\benp1s0f0np0\b", r"\S+"),
    (r"\bnvidia/NVIDIA-[\w.-]+", r"\S+"),
    (r"\b(?:NAME|N|G1|G2)\b", r".+?"),
)
"""What a quote leaves open: its numbers, names and paths are an example's."""

Row = tuple[Typed, int, float]
"""A command that was typed, its exit status and its seconds."""


def pattern(quote: str) -> re.Pattern[str]:
    """What a quoted line looks like on any cluster."""
    pieces, text = [], plain(quote)
    whole = re.compile("|".join(f"(?P<w{number}>{word})" for number, (word, _) in enumerate(WORDS)))
    place = 0
    for there in whole.finditer(text):
        pieces.append(re.escape(text[place : there.start()]))
        number = int((there.lastgroup or "w0")[1:])
        pieces.append(WORDS[number][1].replace("\\\\", "\\"))
        place = there.end()
    return re.compile("".join([*pieces, re.escape(text[place:])]))


def played(scenario: Scenario, state: Path) -> list[Row]:
    """Play it whole; returns its rows. Raises PageFaultError with everything that is not as the page says."""
    stage = Stage(state)
    if scenario.serving:
        stage.serves()
    rows: list[Row] = []
    faults: list[str] = []
    with scenario.broken(stage) as words:
        for step in scenario.steps:
            try:
                rows += _step(step, scenario, stage, words or {})
            except PageFaultError as fault:
                faults.append(str(fault))
    if faults:
        raise PageFaultError("\n".join(faults))
    return rows


def _step(step: Step, scenario: Scenario, stage: Stage, words: Mapping[str, str]) -> list[Row]:
    if isinstance(step, Typed):
        return _typed(step, scenario, stage, words)
    if isinstance(step, Meanwhile):
        step.happens(stage)
    elif isinstance(step, Shown):
        _shown(step, scenario, stage)
    else:
        _ended(f"{scenario.page}: `{step.command}`", stage.type(step.command), (step.status,), step.shows)
    return []


def _typed(step: Typed, scenario: Scenario, stage: Stage, words: Mapping[str, str]) -> list[Row]:
    prompt = f"root@{step.at}# " if step.at else ""
    said = stage.type(prompt + step.command, {**words, **step.fill}, step.answer, terminal=step.terminal)
    print(f"  {said.seconds:6.1f} s  {said.status:3}  {step.command}", file=sys.stderr, flush=True)
    _ended(f"{scenario.page}, {step.heading}: `{step.command}`", said, step.statuses, step.shows)
    return [(row, said.status, said.seconds) for row in step.rows]


def _shown(step: Shown, scenario: Scenario, stage: Stage) -> None:
    if not any(pattern(step.quote).search(text) for text in stage.transcript):
        printed = "\n".join(text[-SHOWN:] for text in stage.transcript[-2:])
        raise PageFaultError(f"{step.page or scenario.page} quotes what was not printed: {step.quote}\n{printed}")


def _ended(what: str, said: Said, statuses: tuple[int, ...], shows: str) -> None:
    if said.status not in statuses:
        expected = " or ".join(map(str, statuses))
        raise PageFaultError(f"{what} ended with {said.status}, expected {expected}:\n{said.text[-SHOWN:]}")
    if not re.search(shows, plain(said.text)):
        raise PageFaultError(f"{what} does not show {shows!r}:\n{said.text[-SHOWN:]}")
