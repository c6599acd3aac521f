"""What README and docs point to exists: links, headings, commands, targets and files."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from gx10.cli import main
from gx10.settings import PROJECT

PAGES = sorted(
    [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md"), *(PROJECT / "files").rglob("README.md")],
    key=lambda page: page.relative_to(PROJECT).as_posix(),
)
OF_THE_READER = {"clusters/mine.yaml"}
"""Files that an example has the reader write."""
RUNBOOKS = sorted(page for page in (PROJECT / "docs/runbooks").glob("*.md") if page.name != "README.md")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^(?: {4,}|\t)(.+)$|`([^`\n]+)`", re.MULTILINE)
FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MOST_WORDS_OF_README = 1000
"""What a newcomer reads in five minutes."""
PICTURE_OR_CODE = re.compile(r"^```.*?^```$|^(?: {4,}|\t)[^\n]*$", re.MULTILINE | re.DOTALL)
TARGET = re.compile(r"\]\([^)]*\)")
FILE = re.compile(r"(?<![\w./~$@:-])((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|md|yaml|toml|lock))(?![\w/*]|\.\w)")


def name(page: Path) -> str:
    """A page as it is called in the repository."""
    return page.relative_to(PROJECT).as_posix()


def code(page: Path) -> list[str]:
    """Everything in a page that is set as code: spans, indented and fenced blocks."""
    text = page.read_text(encoding="utf-8")
    blocks = FENCED.findall(text)
    return [*blocks, *(block or span for block, span in CODE.findall(FENCED.sub("", text)))]


def anchors(page: Path) -> set[str]:
    """Names under which a forge links to a page's headings."""
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def known(group: click.Command, words: list[str]) -> bool:
    """Whether words lead to a command; what follows a command are its own arguments."""
    if not isinstance(group, click.Group) or not words:
        return True
    command = group.get_command(click.Context(group), words[0])
    return command is not None and known(command, words[1:])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_resolves(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{name(page)} links to {link}, which does not exist"
        if anchor:
            assert anchor in anchors(target), f"{name(page)} links to {link}, and {name(target)} has no such heading"


def words(text: str) -> int:
    """Words that a reader of a page reads: no code blocks, no picture, no targets of links; tables count."""
    return len(re.findall(r"\S*\w\S*", TARGET.sub("]", PICTURE_OR_CODE.sub("", text))))


def test_readme_is_read_in_five_minutes() -> None:
    assert words((PROJECT / "README.md").read_text(encoding="utf-8")) <= MOST_WORDS_OF_README


def test_words_are_counted_in_text_and_tables_and_not_in_code() -> None:
    text = "# One\n\ntwo [three](four.md#five)\n\n```\nsix\n```\n\n    seven\n\n| eight | `nine ten` |\n| --- | --- |\n"
    assert words(text) == 6


def test_every_page_that_a_program_or_a_description_names_exists() -> None:
    folders = ("gx10", "tasks", "files", "templates", "recipes", "images", "clusters", "scripts")
    texts = [path for folder in folders for path in (PROJECT / folder).rglob("*") if path.is_file()]
    texts = [path for path in texts if "__pycache__" not in path.parts]
    named = [
        (path, page)
        for path in [*texts, PROJECT / "Makefile", PROJECT / "pyproject.toml"]
        for page in re.findall(r"\bdocs/[\w./-]+\.md\b", path.read_text(encoding="utf-8"))
    ]
    assert named
    for path, page in named:
        assert (PROJECT / page).is_file(), f"{name(path)} names {page}, which does not exist"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_page_calls_the_benchmark_and_its_model_by_their_names(page: Path) -> None:
    assert not re.search(r"(?i)\bmission\b|\bbench(?:mark)? document\b", page.read_text(encoding="utf-8"))


def test_every_figure_says_how_when_at_what_and_where_it_was_measured() -> None:
    text = (PROJECT / "docs/measurements.md").read_text(encoding="utf-8").partition("## The four-GX10 benchmark")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row[0].startswith(("figure", "---"))]
    assert rows
    for row in rows:
        assert len(row) == 6, row
        assert re.fullmatch(r"by hand|(`[^`]+`(, )?)+", row[2]), row
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", row[3]), row
        assert re.fullmatch(r"[0-9a-f]{7,12}", row[4]), row
        assert row[5] in ("lab", "machine"), row


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_figure_is_left_open(page: Path) -> None:
    assert "<!-- figure" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    asked = {target for text in code(page) for target in re.findall(r"\bmake ([a-z-]+)", text)}
    assert asked <= targets, f"{name(page)} names targets that the Makefile does not have"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_gx10_command_exists(page: Path) -> None:
    for text in code(page):
        for line in re.findall(r"\bgx10 ([a-z-]+(?: [a-z-]+)*)", text):
            assert known(main, line.split()), f"{name(page)} names `gx10 {line}`, which does not exist"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_exists(page: Path) -> None:
    top = {found.name for found in PROJECT.iterdir() if not found.name.startswith(".")}
    for text in code(page):
        for file in FILE.findall(text):
            # Of this repository if it begins like something there; NAME and the like are for the reader to fill in.
            ours = file.split("/")[0] in top and not re.search(r"[A-Z]{3}", file.removesuffix("README.md"))
            if ours and file not in OF_THE_READER:
                there = (PROJECT / file).exists() or (page.parent / file).exists()
                assert there, f"{name(page)} names {file}, which does not exist"


def test_what_is_looked_for_is_found() -> None:
    told = " ".join(text for text in code(PROJECT / "README.md"))
    assert "make demo" in told
    assert "images/vllm-node.yaml" in FILE.findall(told)
    assert not known(main, ["lab", "explode"])
    assert known(main, ["lab", "power-off", "gx10-3"])


def test_every_runbook_has_the_same_headings_and_is_listed() -> None:
    listed = LINK.findall((PROJECT / "docs/runbooks/README.md").read_text(encoding="utf-8"))
    for page in RUNBOOKS:
        headings = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert headings == ["Symptom", "What it means", "Do", "Check"], name(page)
        assert page.name in listed, f"docs/runbooks/README.md does not list {page.name}"
