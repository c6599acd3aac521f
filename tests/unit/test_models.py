"""Who holds the weights, what fits, what may go and which recipe is served: decided without a host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gx10_host.content.manifest import digest_of_manifest as digest_of
from hypothesis import given
from hypothesis import strategies as st

from gx10.settings import PROJECT, load
from gx10.weights.choice import Choice
from gx10.weights.holders import Stored, holding
from gx10.weights.manifests import Manifests
from gx10.weights.policy import all_recipes, policy
from gx10.weights.room import GIB, Room, refusal, table

HOSTS = ("gx10-1", "gx10-2", "gx10-3", "gx10-4")


def stored(digest: str = "a", *unproven: str, source: dict[str, str] | None = None) -> Stored:
    """Weights on a host."""
    return Stored(digest, 3, 300, unproven, 100 * len(unproven), source)


def test_a_proven_keeper_decides() -> None:
    held = holding({"gx10-1": stored("a"), "gx10-2": stored("b"), "gx10-3": stored("b")}, "gx10-1", recorded="b")
    assert (held.digest, held.proven) == ("a", ("gx10-1",))
    assert not held.complete("gx10-2")


def test_a_keeper_that_lost_something_is_refilled_from_those_that_are_proven() -> None:
    held = holding(
        {"gx10-1": stored("a", "shard"), "gx10-2": None, "gx10-3": stored("a"), "gx10-4": stored("a")}, "gx10-1"
    )
    assert (held.digest, held.proven) == ("a", ("gx10-3", "gx10-4"))
    assert held.senders("gx10-1") == ("gx10-3", "gx10-4")
    assert held.senders("gx10-3", busy=["gx10-4"]) == ("gx10-4",)


def test_a_manifest_that_lies_on_the_keeper_does_not_decide() -> None:
    lying = stored("lie", "shard")
    told = {"gx10-1": lying, "gx10-2": stored("b"), "gx10-3": stored("a"), "gx10-4": stored("b")}
    assert holding(told, "gx10-1").digest == "b"
    assert holding(told, "gx10-1", recorded="a").digest == "a"
    assert holding(told, "gx10-1", recorded="lie").digest == "b"


def test_weights_of_another_revision_do_not_count() -> None:
    pinned = {"hub": "org/name", "revision": "1" * 40}
    older = {"hub": "org/name", "revision": "0" * 40}
    told = {"gx10-1": stored("a", source=older), "gx10-2": stored("b", source=pinned), "gx10-3": stored("c")}
    assert holding(told, "gx10-1", source=pinned).proven == ("gx10-2",)
    assert holding({"gx10-1": stored("a", source=older)}, "gx10-1", source=pinned).digest is None


@given(
    st.dictionaries(
        st.sampled_from(HOSTS),
        st.none() | st.builds(stored, st.sampled_from("abc")) | st.builds(stored, st.sampled_from("abc"), st.just("x")),
    ),
    st.none() | st.sampled_from("abc"),
)
def test_only_proven_hosts_send_and_all_of_them_the_same(told: dict[str, Stored | None], recorded: str | None) -> None:
    held = holding(told, "gx10-1", recorded)
    assert (held.digest is None) == (not held.proven)
    for name in held.proven:
        found = told[name]
        assert found is not None
        assert found.proven
        assert found.digest == held.digest
    assert "gx10-1" not in held.proven or held.proven[0] == "gx10-1"


def room(need: float, have: float, freeable: float = 0, reserve: float = 20) -> Room:
    """A host's arithmetic in GiB."""
    return Room("gx10-2", *(round(amount * GIB) for amount in (need, have, reserve, freeable)))


@pytest.mark.parametrize(
    ("case", "to_free", "short"),
    [(room(329, 500), 0, 0), (room(329, 300, 70), 49, 0), (room(329, 300, 40), 49, 9), (room(0, 5), 0, 0)],
    ids=["it fits", "a clean-up makes it fit", "it cannot fit", "nothing is to come"],
)
def test_only_as_much_goes_as_is_needed(case: Room, to_free: float, short: float) -> None:
    assert (case.to_free / GIB, case.short / GIB) == (to_free, short)


def test_what_cannot_fit_is_refused_with_the_table_and_a_remedy() -> None:
    told = refusal("nvidia/model", "/srv/models", [Room("gx10-1", 0, GIB, 0, 0), room(329, 300, 40)])
    assert "does not fit into /srv/models on gx10-2" in told[0]
    assert "would be freed" in told[1]
    assert told[3].split() == ["gx10-2", "329.00", "20.00", "300.00", "40.00", "9.00"]
    assert "Free 9.00 GiB on gx10-2" in told[-1]
    assert "gx10 models clean" in told[-1]
    assert refusal("nvidia/model", "/srv/models", [room(329, 500)]) == []
    assert len({len(line) for line in table([room(329, 500), room(1, 2, 3)])}) == 1


def test_the_served_directory_is_kept_and_its_hub_cache_is_bypassed() -> None:
    cluster = load("lab").cluster
    recipes = all_recipes(PROJECT)
    name = "nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-NVFP4"
    told = policy(cluster, recipes["nemotron-3-ultra-nvfp4"], recipes)
    assert told["keep"] == [name]
    assert told["bypassed"][name] == name
    assert "unnamed" not in told["kinds"], "a deploy removes whole models only where the cluster file says so"
    # The lab's recipe goes by the same name and serves something else: that bypasses nothing.
    lab = {"lab-nemotron-3-ultra": recipes["lab-nemotron-3-ultra"]}
    assert policy(cluster, lab["lab-nemotron-3-ultra"], lab)["bypassed"] == {}
    kept = cluster.model_copy(update={"models": cluster.models.model_copy(update={"keep": (name,)})})
    told = policy(kept, recipes["lab-nemotron-3-ultra"], recipes)
    assert told["keep_caches"] == [name]
    assert name not in told["bypassed"]


def test_a_manifest_is_kept_whole_and_known_by_its_digest(tmp_path: Path) -> None:
    kept = Manifests.of(tmp_path, "mine")
    assert kept.digest("org/model") is None
    told = {"name": "org/model", "files": [{"path": "a", "size": 1, "sha256": "0" * 64}]}
    kept.record("org/model", json.dumps(told, indent=3))
    assert kept.digest("org/model") == digest_of(told)
    for nothing in ("", "[]", "{}", '{"files": 3}'):
        with pytest.raises(ValueError):  # noqa: PT011 - JSON's own error is one
            kept.record("org/model", nothing)
    assert kept.digest("org/model") == digest_of(told)
    kept.path("org/model").write_text("{")
    assert kept.digest("org/model") is None


FILE = """\
# my cluster
name: mine   # the name
recipe: old-one    # why this one
hosts:
  a: {recipe: no}
# recipe: commented
"""


@pytest.mark.parametrize("old", ["old-one", '"old-one"', "'old-one'"])
def test_choosing_a_recipe_changes_one_word(tmp_path: Path, old: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(FILE.replace("old-one", old))
    path.chmod(0o640)
    choice = Choice(path)
    assert choice.recipe == "old-one"
    choice.write(choice.changed("new-one"))
    assert choice.recipe == "new-one"
    assert path.read_text() == FILE.replace("old-one", "new-one")
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_recipe_that_cannot_be_changed_by_its_line_alone_is_left_to_a_person(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("recipe:\n  old-one\n")
    with pytest.raises(ValueError, match=r"mine.yaml:1: write `recipe: new-one` there yourself"):
        Choice(path).changed("new-one")
