"""What supervisors say to each other is read as it was written, and anything else is refused before it is believed."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from gx10_host import checked, wire
from gx10_host.checked import Refused
from gx10_host.gang.state import Past, Present
from gx10_host.wire import (
    Envelope,
    Evidence,
    Fault,
    Foreign,
    Generation,
    Life,
    Malformed,
    Membership,
    Order,
    PartState,
    Report,
    Seal,
    Started,
    Sworn,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BUSY = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
"""The machine that runs this may be busy; how long a message takes to be read is no matter of these tests."""
GENERATIONS = st.builds(Generation, st.from_regex(wire.GENERATION, fullmatch=True))
LIVES = st.builds(Life, GENERATIONS, st.integers(1, 999_999_999))
NAMES = st.from_regex(wire.NAME, fullmatch=True)
WORDS = st.from_regex(wire.WORD, fullmatch=True)
ADDRESSES = st.ip_addresses().map(str)
TEXTS = st.text(max_size=100).map(lambda text: checked.clean(text, 100))
SECONDS = st.floats(0, 10**9)
MOMENTS = st.floats(-(10**9), 10**9)
COUNTS = st.integers(0, 10**12)
PARTS = st.lists(st.sampled_from(["ray", "engine"]), unique=True, max_size=2).map(tuple)
LINES = st.lists(st.tuples(MOMENTS, TEXTS), max_size=4).map(tuple)
STATES = st.builds(
    PartState, state=st.sampled_from(["up", "down", "starting", "active", "dead"]), sub=WORDS, result=WORDS,
    code=WORDS, status=WORDS, when=MOMENTS,
)  # fmt: skip
MEMBERSHIPS = st.builds(Membership, head=NAMES, hosts=st.dictionaries(NAMES, ADDRESSES, max_size=4))
BY_PART = st.sampled_from(["ray", "engine"])
EVIDENCE = st.builds(
    Evidence, life=LIVES, ended=st.dictionaries(BY_PART, STATES), kernel=LINES,
    out_of_memory=st.lists(TEXTS, max_size=3).map(tuple), telling=st.dictionaries(BY_PART, LINES),
    logs=st.dictionaries(BY_PART, LINES), memory=TEXTS,
)  # fmt: skip


@st.composite
def orders(draw: st.DrawFn) -> Order:
    """Any order that a head can give."""
    want = draw(st.sampled_from(["run", "stop"]))
    return Order(
        cluster=draw(NAMES), head=draw(NAMES), want=want,
        life=draw(LIVES if want == "run" else LIVES | st.none()), start=want == "run" and draw(st.booleans()),
        parts=draw(PARTS), fallback=draw(st.integers(0, 99)), keep=draw(GENERATIONS | st.none()),
        restore=draw(GENERATIONS | st.none()), fault=draw(st.booleans()), kill_after=draw(st.floats(0, 10**6)),
    )  # fmt: skip


KEYS = orders().map(lambda order: order.key) | st.sampled_from([wire.ADOPTED, wire.LEASE_OVER, wire.NO_ORDER])
REPORTS = st.builds(
    Report, key=KEYS, boot=WORDS, time=MOMENTS, age=SECONDS, described=GENERATIONS | st.none(),
    kept=GENERATIONS | st.none(), kept_for=MEMBERSHIPS | st.none(), lives=st.lists(TEXTS, max_size=4).map(tuple),
    idle=st.booleans(), started=st.builds(Started, life=LIVES | st.none(), parts=PARTS, since=MOMENTS),
    parts=st.dictionaries(BY_PART, STATES), available_gib=st.floats(0, 1000),
    needs=st.lists(TEXTS, max_size=4).map(tuple), leaving=st.booleans(),
    foreign=st.lists(
        st.builds(
            Foreign, head=NAMES, cluster=NAMES, address=ADDRESSES, orders=COUNTS, first_seconds=SECONDS,
            last_seconds=SECONDS,
        ), max_size=3,
    ).map(tuple),
    malformed=st.lists(
        st.builds(
            Malformed, address=ADDRESSES, messages=COUNTS, first_seconds=SECONDS, last_seconds=SECONDS, reason=TEXTS
        ), max_size=3,
    ).map(tuple),
    faults=st.lists(st.builds(Fault, step=WORDS, error=TEXTS, times=COUNTS, last_seconds=SECONDS), max_size=3).map(
        tuple
    ),
    evidence=EVIDENCE | st.none(),
)  # fmt: skip
G, H = "1" * 16, "2" * 16
STOP: dict[str, Any] = {"wire": 1, "key": " stop", "cluster": "four", "head": "gx10-1", "want": "stop"}
RUN: dict[str, Any] = {**STOP, "key": f"{G}.1 run", "want": "run", "life": f"{G}.1", "parts": ["ray"]}
REPORT: dict[str, Any] = {
    "wire": 1, "key": "", "boot": "b", "time": 1, "idle": True, "started": {"life": "", "parts": []},
    "parts": {"ray": {"state": "down"}}, "available_gib": 1.5,
}  # fmt: skip


@BUSY
@given(orders())
def test_an_order_is_read_as_it_was_written(order: Order) -> None:
    assert Order.parse(order.to_bytes()) == order


@BUSY
@given(REPORTS)
def test_a_report_is_read_as_it_was_written(report: Report) -> None:
    assert Report.parse(report.to_bytes()) == report


@BUSY
@given(LIVES)
def test_a_life_has_one_spelling(life: Life) -> None:
    assert Life.parse(str(life)) == life
    assert str(Life.parse(str(life))) == str(life)


@BUSY
@given(st.builds(Sworn, cluster=NAMES, head=NAMES, address=ADDRESSES))
def test_whom_a_host_obeys_is_read_as_it_was_written(sworn: Sworn) -> None:
    assert Sworn.parse(sworn.to_bytes()) == sworn


@BUSY
@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_bytes_of_any_kind_are_refused_and_raise_nothing_else(body: bytes) -> None:
    for kind in (Order, Report, Sworn):
        with pytest.raises(Refused):
            kind.parse(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@BUSY
@given(st.data())
def test_a_report_with_any_value_in_any_place_is_read_or_refused_and_raises_nothing_else(data: st.DataObject) -> None:
    document = json.loads(data.draw(REPORTS).to_bytes())
    place: Any = document
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            place[key] = data.draw(JSON)
            break
        place = place[key]
    try:
        report = Report.parse(json.dumps(document).encode())
    except Refused:
        return
    assert Report.parse(report.to_bytes()) == report


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({**RUN, "life": f"{G}.1\nExecStartPre=+/bin/sh"}, "life"),
        ({**RUN, "life": f"{G}.01", "key": f"{G}.01 run"}, "key"),
        ({**RUN, "life": f"{G}.2"}, "the order says"),
        ({**RUN, "life": None}, "key"),
        ({**RUN, "parts": ["shell"]}, "parts"),
        ({**RUN, "parts": [["ray"]]}, "parts"),
        ({**RUN, "parts": ["ray"] * 3}, "3 entries"),
        ({**RUN, "start": 1}, "not true or false"),
        ({**RUN, "fallback": True}, "not a whole number"),
        ({**RUN, "fallback": 1000}, "between"),
        ({**STOP, "kill_after": -1}, "between"),
        ({**STOP, "kill_after": 10**400}, "not a number"),
        ({**STOP, "kill_after": "5"}, "not a number"),
        ({**STOP, "keep": "../../etc"}, "no generation"),
        ({**STOP, "head": "x" * 64}, "not a name"),
        ({**STOP, "reboot": True}, "`reboot` is no key"),
        ({**STOP, "wire": "1"}, "not a version"),
        ({**STOP, "wire": -1}, "not a version"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_order_is_refused_with_a_sentence(document: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said):
        Order.parse(json.dumps(document).encode())


@pytest.mark.parametrize(
    "body",
    [b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":' * 13 + b"1" + b"}" * 13, b"[" * 600, json.dumps(STOP).encode("utf-16")],
    ids=["a key twice", "not a number", "deep", "open", "another encoding"],
)
def test_json_that_is_not_quite_json_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        Order.parse(body)


def test_very_many_values_and_a_string_without_end_are_refused_at_once() -> None:
    for body in (b'{"a":[' + b"0," * 100_000 + b"0]}", b'"' + b'\\"' * 200_000):
        with pytest.raises(Refused):
            Report.parse(body)


def test_a_newer_version_may_add_keys_and_an_older_one_may_not() -> None:
    assert Order.parse(json.dumps({**STOP, "wire": wire.WIRE + 1, "hurry": [1]}).encode()).want == "stop"
    for version in ({}, {"wire": wire.WIRE}):
        with pytest.raises(Refused):
            Order.parse(json.dumps({**{key: STOP[key] for key in STOP if key != "wire"}, **version, "x": 1}).encode())
    parts = {"ray": {"state": "down", "since": 1}}
    assert Report.parse(json.dumps({**REPORT, "wire": wire.WIRE + 1, "parts": parts}).encode()).parts


def test_orders_of_before_there_was_a_version_are_understood_and_understand_these() -> None:
    old = {"cluster": "four", "head": "gx10-1", "key": f"{G}.1 stop", "want": "stop", "fault": True, "kill_after": 1}
    assert Order.parse(json.dumps(old).encode()).life == Life(Generation(G), 1)
    run = {**old, "key": f"{G}.1 start", "want": "run", "life": f"{G}.1", "start": True, "parts": ["ray"]}
    order = Order.parse(json.dumps({**run, "fallback": 0}).encode())
    written = json.loads(order.to_bytes())
    # What a supervisor of that time reads of an order, and of what type.
    kinds = {"cluster": str, "head": str, "want": str, "key": str, "parts": list, "life": str, "start": bool}
    kinds |= {"fault": bool, "fallback": int, "keep": str, "restore": str}
    assert all(isinstance(written[key], kinds[key]) for key in kinds if key in written)
    assert written["key"] == run["key"]


def test_reports_of_before_there_was_a_version_are_understood_and_understand_these() -> None:
    old = {
        "key": f"{G}.1 run", "boot": "b", "time": 1.5, "age": 0.2, "described": G, "kept": None, "kept_for": None,
        "lives": [f"{G}.1"], "idle": False, "started": {"life": f"{G}.1", "parts": ["ray"], "since": 1.0},
        "parts": {"ray": {"state": "dead", "sub": "failed", "Result": "signal", "ExecMainCode": "2",
                          "ExecMainStatus": "9", "when": 3.5}},
        "available_gib": 1.0, "needs": [], "leaving": False, "foreign": [],
        "evidence": {"life": f"{G}.1", "ended": {}, "kernel": [[1.5, "tab\there\u001b[0m"]], "out_of_memory": [],
                     "telling": {"ray": []}, "logs": {"ray": [[1.5, "\ud800"]]}, "memory": "MemAvailable: 1 kB"},
    }  # fmt: skip
    report = Report.parse(json.dumps(old).encode())
    assert report.parts["ray"].status == "9"
    assert report.evidence is not None
    assert report.evidence.kernel == ((1.5, "tab here\ufffd[0m"),), "what a log says silences no host"
    written = json.loads(report.to_bytes())
    assert old.keys() <= written.keys()
    assert written["parts"] == old["parts"]


def test_a_longest_report_still_fits() -> None:
    longest = "\U0001f600" * 300
    lines = tuple((float(number), longest) for number in range(30))
    evidence = Evidence(
        life=Life(Generation(G), 1), ended={}, kernel=lines[:12], out_of_memory=(longest,) * 12,
        telling={"ray": lines[:12], "engine": lines[:12]}, logs={"ray": lines, "engine": lines}, memory=longest,
    )  # fmt: skip
    report = Report.parse(json.dumps({**REPORT, "needs": [longest] * wire.MOST_NEEDS}).encode())
    full = dataclasses.replace(report, evidence=evidence)
    assert Report.parse(full.to_bytes()) == full


def test_a_seal_covers_direction_host_life_and_body() -> None:
    life, seal = Life(Generation(G), 1), Seal.parse(f"{'a' * 32} {'b' * 64}")
    envelope = Envelope(b"{}", seal)
    covered = {
        envelope.covered("order", "gx10-1", life, seal.nonce),
        envelope.covered("report", "gx10-1", life, seal.nonce),
        envelope.covered("order", "gx10-2", life, seal.nonce),
        envelope.covered("order", "gx10-1", None, seal.nonce),
        Envelope(b"{} ").covered("order", "gx10-1", life, seal.nonce),
    }
    assert len(covered) == 5
    with pytest.raises(Refused):
        Seal.parse("a b")


@pytest.mark.parametrize("kind", [Past, Present])
def test_state_is_read_as_it_was_written_and_what_is_damaged_of_it_is_lost_alone(kind: type[Any]) -> None:
    state, lost = checked.salvage(kind, json.loads(checked.to_bytes(kind())))
    assert (state, lost) == (kind(), [])
    past, lost = checked.salvage(
        Past, {"number": 7, "good": "g1", "failures": "x", "rolled_back": {"from": G, "to": H}}
    )
    assert (past.number, past.good, past.failures, len(lost)) == (7, None, (), 2)
    assert past.rolled_back is not None
