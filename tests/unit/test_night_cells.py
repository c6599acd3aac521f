"""What is injected into the night covers everything that a deploy puts on a host, in every way, or says why not."""

from __future__ import annotations

from gx10.described.description import describe
from gx10.described.placed import placed

from ..night.cells import MADE, NOT_DONE, Finder, How, cells
from ..night.test_6_every_object import batches


def test_every_object_is_touched_in_every_way_or_there_is_a_reason() -> None:
    description = describe("lab")
    ways: dict[tuple[str, str], set[How]] = {}
    for cell in cells(description):
        ways.setdefault((cell.what.kind, cell.what.name), set()).add(cell.how)
    for host in description.cluster.hosts:
        for what in placed(description, host):
            for how in set(How) - ways.get((what.kind, what.name), set()):
                told = f"{how} of {what.kind} {what.name} is neither done nor told why"
                assert (what.kind, how) in NOT_DONE, told


def test_every_reason_is_about_something_that_is_placed_and_a_sentence() -> None:
    assert {kind for kind, _ in NOT_DONE} <= set(MADE)
    assert all(len(reason.split()) >= 4 for reason in NOT_DONE.values())


def test_names_of_cells_are_their_own_and_no_two_of_a_night_touch_the_same() -> None:
    every = list(cells(describe("lab")))
    assert len({cell.name for cell in every}) == len(every) > 1000
    nights = batches(cell for cell in every if cell.finder is Finder.NIGHT)
    assert sum(len(night) for night in nights) == sum(cell.finder is Finder.NIGHT for cell in every)
    assert len(nights) <= 40, "nobody waits for so many nights"
