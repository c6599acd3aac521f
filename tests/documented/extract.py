"""Finds every command in the documents, and every line of output that they quote.

What is a command is decided by rule alone: it begins with a program that people type here, or with a prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from markdown_it import MarkdownIt
from markdown_it.token import Token

from gx10.settings import PROJECT

PROGRAMS = frozenset({
    "auditctl", "df", "dmesg", "docker", "export", "gx10", "ip", "journalctl", "make", "nvidia-ctk", "ps", "pyinfra",
    "pytest", "rdma", "runuser", "smartctl", "ssh", "ssh-keygen", "sudo", "systemctl",
})  # fmt: skip
WHOLE_ALONE = frozenset({"df"})
"""Programs that do something without a word more; the others' bare names are names."""
PROMPT = re.compile(r"^root@(?P<host>\S+)# (?P<typed>.+)$")
COMMENT = re.compile(r"\s{2,}# .*$")
SETTING = re.compile(r"^[\w.]+: (\{.*\}|[A-Z]+)$")
RUNBOOKS = "docs/runbooks"
PAGES = (
    "README.md", "docs/own-cluster.md", "docs/day-two.md", "docs/measurements.md", "docs/lab.md", "docs/report.md",
)  # fmt: skip
"""Pages whose commands are typed, beside the runbooks."""


@dataclass(frozen=True)
class Command:
    """Something to type, as a page has it."""

    page: str
    heading: str
    line: int
    text: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What names it: the line may move."""
        return self.page, self.heading, self.text

    @property
    def host(self) -> str:
        """The host it is typed on as its root, by the page's name for it; empty is the control node."""
        prompt = PROMPT.match(self.text)
        return prompt["host"] if prompt else ""

    @property
    def typed(self) -> str:
        """The command without its prompt."""
        prompt = PROMPT.match(self.text)
        return prompt["typed"] if prompt else self.text


@dataclass(frozen=True)
class Quote:
    """A line of output that a page promises."""

    page: str
    heading: str
    line: int
    text: str

    @property
    def key(self) -> tuple[str, str]:
        """What names it."""
        return self.page, self.text


@dataclass(frozen=True)
class Code:
    """Something that is set as code: a span, or a line of a block."""

    heading: str
    line: int
    text: str


Found = TypeVar("Found", Command, Quote)


def documents(project: Path = PROJECT) -> list[Path]:
    """The pages whose commands are typed."""
    pages = [project / name for name in PAGES]
    return [*pages, *sorted((project / RUNBOOKS).glob("*.md"))]


def is_command(text: str) -> bool:
    """Whether this is to be typed: it has a prompt, or begins with a program; an excerpt with … in it is neither."""
    if PROMPT.match(text):
        return True
    if "…" in text:
        return False
    first, _, rest = text.partition(" ")
    known = first in PROGRAMS or first.endswith("/bin/gx10")
    return known and bool(rest.strip() or first in WHOLE_ALONE)


def is_quote(text: str) -> bool:
    """Whether this is a line of output: more than one word that is neither to be typed nor a setting."""
    return " " in text and not is_command(text) and not SETTING.match(text) and "/uv pip " not in text


def code(text: str) -> Iterator[Code]:
    """Everything that a page sets as code, with the section it stands in."""
    lines = text.splitlines()
    heading = ""
    expects_heading = False
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "heading_open":
            expects_heading = True
        elif token.type in ("fence", "code_block"):
            yield from _block(token, heading)
        elif token.type == "inline" and expects_heading:
            heading, expects_heading = token.content, False
        elif token.type == "inline":
            yield from _spans(token, lines, heading)


def commands(page: Path, project: Path = PROJECT) -> list[Command]:
    """Every command of a page, once in each section."""
    name = page.relative_to(project).as_posix()
    found = [
        Command(name, one.heading, one.line, one.text)
        for one in code(page.read_text(encoding="utf-8"))
        if is_command(one.text)
    ]
    return _once(found)


def quotes(page: Path, project: Path = PROJECT) -> list[Quote]:
    """Every line of output that a runbook quotes."""
    name = page.relative_to(project).as_posix()
    if not name.startswith(RUNBOOKS):
        return []
    found = [
        Quote(name, one.heading, one.line, one.text)
        for one in code(page.read_text(encoding="utf-8"))
        if is_quote(one.text)
    ]
    return _once(found)


def _once(found: Iterable[Found]) -> list[Found]:
    first: dict[object, Found] = {}
    for one in found:
        first.setdefault(one.key, one)
    return list(first.values())


def _block(token: Token, heading: str) -> Iterator[Code]:
    """Lines of a block; one that ends with a backslash goes on in the next."""
    first = (token.map or [0])[0] + (2 if token.type == "fence" else 1)
    begun, at = "", 0
    for number, line in enumerate(token.content.splitlines(), first):
        stripped = COMMENT.sub("", line).strip()
        at = at if begun else number
        begun = f"{begun} {stripped.removesuffix(chr(92)).strip()}".strip()
        if not stripped.endswith("\\"):
            if begun:
                yield Code(heading, at, begun)
            begun = ""


def _spans(token: Token, lines: list[str], heading: str) -> Iterator[Code]:
    """Spans of a paragraph or cell, each with the line on which it begins."""
    first, end = token.map or (0, 0)
    raw, place = "\n".join(lines[first:end]), 0
    for child in token.children or []:
        if child.type == "code_inline":
            words = r"\s+".join(re.escape(word).replace(r"\|", r"\\?\|") for word in child.content.split())
            there = re.compile(rf"`\s*{words}\s*`").search(raw, place)
            if there:
                place = there.end()
            line = first + 1 + raw.count("\n", 0, there.start() if there else 0)
            yield Code(heading, line, child.content)
