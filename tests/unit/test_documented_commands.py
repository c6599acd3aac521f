"""Every command of the documents has a row in the table of what is typed, and every row a command."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from gx10.settings import PROJECT
from tests.documented import situations as on
from tests.documented.case import Scenario, Typed
from tests.documented.cases import NOT_PROVOKED, NOT_TYPED, SCENARIOS
from tests.documented.extract import RUNBOOKS, commands, documents, is_command, is_quote, quotes
from tests.documented.play import pattern
from tests.documented.published import NO_OUTCOME, PAGE, SHOWN, Key, Outcome, key, keys, lines_key, page, published
from tests.documented.stage import fill_in, plain

PAGES = documents()
ON_HOSTS = {"docker", "systemctl", "journalctl", "df", "ip", "rdma", "dmesg", "smartctl", "nvidia-ctk", "auditctl"}
"""Programs that mean a host of the cluster wherever a page has them typed."""


def name(page: Path) -> str:
    """A page as the table calls it."""
    return page.relative_to(PROJECT).as_posix()


NOT_TYPED_KEYS = {(one.page, one.command) for one in NOT_TYPED}
NOT_PROVOKED_KEYS = {(one.page, one.quote) for one in NOT_PROVOKED}
SHOWN_KEYS = {key for one in SCENARIOS for key in one.shown}
INDEX = f"{RUNBOOKS}/README.md"
TYPED_KEYS = {(one.page, step.heading, step.command) for one in SCENARIOS for step in one.typed}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_of_a_page_is_typed_or_has_a_reason(page: Path) -> None:
    for command in commands(page):
        typed = command.key in TYPED_KEYS
        off = (command.page, command.text) in NOT_TYPED_KEYS
        where = f"{command.page}:{command.line}, {command.heading!r}: `{command.text}`"
        assert typed or off, f"{where} is typed in no scenario of tests/documented/cases.py"
        assert not (typed and off), f"{where} is typed and has a reason why it is not"


def test_every_row_belongs_to_a_command_of_its_page() -> None:
    there = {command.key for page in PAGES for command in commands(page)}
    assert sorted(TYPED_KEYS - there) == [], "no page says these any more"
    mentioned = {(page, command) for page, _, command in there}
    assert sorted(NOT_TYPED_KEYS - mentioned) == [], "no page says these any more"


def test_what_is_not_typed_has_a_sentence_for_a_reason() -> None:
    for reason in [one.reason for one in (*NOT_TYPED, *NOT_PROVOKED)]:
        assert re.fullmatch(r"(?:[A-Z]|vLLM ).{30,}\.", reason), reason


def test_scenarios_have_names_of_their_own() -> None:
    assert [one for one, count in Counter(one.name for one in SCENARIOS).items() if count > 1] == []


def test_lines_that_no_situation_brings_about_stand_in_the_program_that_prints_them() -> None:
    there = {quote.key for page in PAGES for quote in quotes(page)}
    for one in NOT_PROVOKED:
        assert (one.page, one.quote) in there, f"{one.page} does not quote {one.quote!r} any more"
        printed_elsewhere = not one.file
        assert printed_elsewhere or one.words in (PROJECT / one.file).read_text(encoding="utf-8"), (
            f"{one.file} does not say {one.words!r}"
        )


@pytest.mark.parametrize("page", [page for page in PAGES if name(page) != INDEX], ids=name)
def test_every_line_that_a_page_quotes_is_shown_or_has_a_reason(page: Path) -> None:
    for quote in quotes(page):
        where = f"{quote.page}:{quote.line}: {quote.text}"
        assert (quote.key in SHOWN_KEYS) != (quote.key in NOT_PROVOKED_KEYS), (
            f"{where} is held by no situation, or twice"
        )


def test_every_quote_in_the_table_is_one_of_its_page() -> None:
    there = {quote.key for page in PAGES for quote in quotes(page)}
    assert sorted((SHOWN_KEYS | NOT_PROVOKED_KEYS) - there) == [], "no page quotes these any more"


def test_the_index_of_runbooks_quotes_what_their_pages_quote() -> None:
    for line in (PROJECT / INDEX).read_text(encoding="utf-8").splitlines():
        linked = re.search(r"\]\(([\w-]+\.md)\) \|$", line)
        if linked:
            own = " ".join((PROJECT / RUNBOOKS / linked[1]).read_text(encoding="utf-8").split())
            for quoted in re.findall(r"`([^`]+)`", line.split(" | ")[0]):
                assert quoted in own, f"{INDEX}: {linked[1]} does not speak of {quoted!r}"


@pytest.mark.parametrize("page", [page for page in PAGES if name(page).startswith(RUNBOOKS)], ids=name)
def test_steps_that_mean_a_host_say_so_with_a_prompt(page: Path) -> None:
    for command in commands(page):
        if command.heading in ("Do", "Check") and not command.host:
            first = command.text.split()[0]
            assert first not in ON_HOSTS, f"{command.page}:{command.line}: `{command.text}` needs `root@HOST# `"


def test_the_published_table_has_every_row_and_no_other() -> None:
    stale = "run `make docs-commands`, or the part of it for the page that changed"
    assert sorted(published(PAGE.read_text(encoding="utf-8"))) == sorted(keys()), stale


def test_the_published_table_shows_nothing_that_the_pages_do_not_promise() -> None:
    outcomes = published(PAGE.read_text(encoding="utf-8"))
    for scenario in SCENARIOS:
        promised: dict[Key, set[str]] = {} if scenario.typed else {lines_key(scenario): {SHOWN, NO_OUTCOME}}
        for step in scenario.typed:
            promised.setdefault(key(scenario, step), {NO_OUTCOME}).update(map(str, step.statuses))
        for name, statuses in promised.items():
            assert outcomes[name].status in statuses, f"{name} was never typed, or did not end as its page says"


def test_a_published_page_is_read_as_it_was_written() -> None:
    outcomes = {name: Outcome(str(number), "1.5", "0123456789ab") for number, name in enumerate(keys())}
    assert published(page(outcomes)) == outcomes
    assert set(published(page({})).values()) == {Outcome()}


def extracted(tmp_path: Path, text: str) -> list[tuple[str, int, str]]:
    """Section, line and text of every command in a page with this text."""
    page = tmp_path / "page.md"
    page.write_text(text)
    return [(one.heading, one.line, one.text) for one in commands(page, tmp_path)]


def test_commands_are_found_in_spans_blocks_fences_and_cells(tmp_path: Path) -> None:
    text = """\
# One

Type `gx10 status`, or
`root@HOST# systemctl
status docker`.

    make demo    # what it does
    gx10 images lock NAME \\
        --upgrade

## Two

| a | b |
| --- | --- |
| `gx10 plan` | `ps a \\| head` |

1. Item:

       docker info

```sh
ssh gx10-2
```
"""
    assert extracted(tmp_path, text) == [
        ("One", 3, "gx10 status"),
        ("One", 4, "root@HOST# systemctl status docker"),
        ("One", 7, "make demo"),
        ("One", 8, "gx10 images lock NAME --upgrade"),
        ("Two", 15, "gx10 plan"),
        ("Two", 15, "ps a | head"),
        ("Two", 19, "docker info"),
        ("Two", 22, "ssh gx10-2"),
    ]


def test_a_command_is_named_once_in_a_section(tmp_path: Path) -> None:
    text = "# One\n\n`gx10 plan`, `gx10 plan`\n\n# Two\n\n`gx10 plan`\n"
    assert extracted(tmp_path, text) == [("One", 3, "gx10 plan"), ("Two", 7, "gx10 plan")]


@pytest.mark.parametrize("text", ["gx10 status", "df", "root@HOST# anything at all", "/opt/gx10/bin/gx10 plan"])
def test_what_is_typed_is_a_command(text: str) -> None:
    assert is_command(text)


@pytest.mark.parametrize(
    "text",
    [
        "gx10",
        "docker",
        "/opt/gx10/bin/gx10",
        "--full",
        "/etc/gx10",
        "gx10-1 is locked by",
        "gx10.budget.attempts",
        "docker save …",
    ],
)
def test_names_options_paths_excerpts_and_output_are_no_commands(text: str) -> None:
    assert not is_command(text)


@pytest.mark.parametrize("text", ["suspended by ada until …", "does not fit into", "gx10-3 still ends …"])
def test_lines_of_output_are_quotes(text: str) -> None:
    assert is_quote(text)


@pytest.mark.parametrize("text", ["gx10 plan", "NCCL_DEBUG: INFO", "reconcile: {enabled: false}", "unproven"])
def test_commands_settings_and_single_words_are_no_quotes(text: str) -> None:
    assert not is_quote(text)


def test_a_quote_leaves_open_what_is_an_examples() -> None:
    quote = "gx10-3: has 4.2 GiB free in /var/lib/docker, 20 GiB must stay free (host.min_free_gib). Remove … there."
    printed = "gx10-2: has 0.1 GiB free in /srv/models, 4 GiB must stay free (host.min_free_gib). Remove 3.9 GiB there."
    assert pattern(quote).search(printed)
    assert not pattern(quote).search(printed.replace("must stay", "should stay"))
    assert pattern("gx10-1 is locked by ada@desk, process 4711").search("gx10-1 is locked by root@vm, process 12")
    assert pattern("`suspended by ada until …`").search("lab: suspended by root until 2026-01-01")


def test_what_is_typed_once_is_a_row_of_each_section_that_names_it() -> None:
    step = Typed("Day two", "make bench-noop", also=("Limits",))
    scenario = Scenario("README.md", "it serves", on.serving, (step,))
    assert [one.heading for one in scenario.typed] == ["Day two", "Limits"]


def test_what_was_printed_is_compared_without_its_looks() -> None:
    assert plain("\x1b[31m│ a `b`\x1b[0m ┃\n  c │") == "a b c"


def test_words_that_a_page_leaves_to_its_reader_are_filled_in() -> None:
    assert fill_in("root@HOST# ping 192.0.2.13 NOT_HOST", {}) == "root@gx10-3# ping 10.77.0.13 NOT_HOST"
    assert fill_in("gx10 images lock NAME", {"NAME": "lab"}) == "gx10 images lock lab"
