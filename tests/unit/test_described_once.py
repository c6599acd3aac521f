"""What follows from a description alone is worked out once, and never from another description."""

from __future__ import annotations

from dataclasses import replace

from gx10.described.description import Description, describe, once
from gx10.described.gang_files import configuration, ray_files


def test_hosts_share_what_follows_from_the_description() -> None:
    described, asked = describe("lab"), []

    @once
    def answer(description: Description, host: str = "") -> str:
        asked.append(host)
        return f"{description.cluster.name} {host}"

    assert [answer(described, "a"), answer(described, "b"), answer(described, "a")] == ["lab a", "lab b", "lab a"]
    assert asked == ["a", "b"]
    assert answer(described, host="a") == "lab a"


def test_another_description_is_worked_out_anew() -> None:
    described = describe("lab")
    other = replace(described)
    assert other == described
    assert ray_files(described, "gx10-1") is ray_files(described, "gx10-1")
    assert ray_files(other, "gx10-1") is not ray_files(described, "gx10-1")
    assert configuration(other) == configuration(described)
