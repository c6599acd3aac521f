"""The fault matrix: `make chaos`, or `python -m tests.chaos.run [--cases 0,1] [--only WORD] [--repeat N] [--long]`.

With `--table` nothing is struck: the results so far are printed as a table.

Each case strikes a gang that serves, under a light stream of requests, and nobody helps: what is waited for is a
completion of another life (or that nothing happens), while a watcher outside of the hosts looks for ranks of two lives.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from gx10_host.wire import Life

from gx10.lab.lab import Lab

from .cases import CASES, EITHER, EVIDENCE, HANG, LASTING, NOTHING, PLANNED, POWER, SILENCE, Case
from .load import Load
from .outside import Watcher, picture

PROJECT = Path(__file__).resolve().parents[2]
STABLE_SECONDS = 13
BACK_SECONDS = 420
QUIET_SECONDS = 45
DETECT_SECONDS = {EVIDENCE: 5, SILENCE: 25, HANG: 45}
RECOVERY = 1.3
ATTEMPTS = 3
"""Budget of the lab's recipe."""
MEASURE_AGAIN_SECONDS = 900
"""The machine's own speed varies: a cold start that cases are compared with is never older than this."""


def serving(lab: Lab, other_than: str, seconds: float) -> dict[str, Any] | None:
    """Wait until a life serves that is another one than named; nothing when time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        now = picture(lab)
        if now and now["phase"] == "serving" and now["life"] != other_than:
            return now
        if now and now["phase"] == "failed":
            return None
        time.sleep(0.2)
    return None


def settled(lab: Lab) -> str:
    """Wait until a life has served for long enough to be a good one; returns its name."""
    until = time.monotonic() + BACK_SECONDS
    while time.monotonic() < until:
        now = picture(lab)
        if now and now["phase"] == "serving" and time.time() - now["since"] > STABLE_SECONDS:
            return str(now["life"])
        time.sleep(0.2)
    raise SystemExit(f"chaos: the gang does not serve: {picture(lab)}")


def control(lab: Lab, wish: str) -> None:
    """Ask the head's supervisor for something, as `gx10 restart` does."""
    lab.run("gx10-1", "/usr/local/bin/gx10-host", "control", wish, timeout_seconds=BACK_SECONDS)


def cold_start(lab: Lab) -> float:
    """Seconds from "every rank is gone" to a completion, of a planned restart."""
    life = settled(lab)
    control(lab, "restart")
    now = serving(lab, life, BACK_SECONDS)
    if now is None:
        raise SystemExit("chaos: the gang does not come back from a planned restart")
    return float(now["since"] - said_at(lab, "gathering"))


def said_at(lab: Lab, words: str) -> float:
    """When the head's supervisor last said so."""
    find = f"journalctl -u gx10-gang -o short-unix --no-pager --grep 'gang: {words}' --lines 1 --quiet"
    return float(lab.run("gx10-1", "sh", "-c", find).stdout.split()[0])


def struck(lab: Lab, case: Case, load: Load, cold: float) -> dict[str, Any]:
    """Carry out one case; returns what came of it."""
    life = settled(lab)
    began = time.time()
    told: dict[str, Any] = {"case": case.name, "kind": case.kind, "at": round(began), "life": life}
    with Watcher(lab) as watcher:
        began = case.strike(lab) or began
        hit = time.time()
        detected, healed = None, hit
        pending = case.heal_after
        until = hit + case.heal_after + (QUIET_SECONDS if case.kind in (NOTHING, EITHER) else BACK_SECONDS)
        after = None
        while time.time() < until:
            if pending and time.time() - hit >= pending:
                case.heal(lab)
                healed, pending = time.time(), 0
            now = picture(lab)
            # A head without power says nothing: a life is over when it cannot be asked.
            if detected is None and case.kind != POWER and now and (now["life"], now["phase"]) != (life, "serving"):
                detected = time.time()
                until = max(until, detected + BACK_SECONDS)
            if not pending and now and now["phase"] == "serving" and now["life"] != life:
                after = now
                break
            if now and now["phase"] == "failed":
                break
            time.sleep(0.1)
        gave_up = time.time() - began if now and now["phase"] == "failed" else None
        tried = now["number"] - Life.parse(life).number if now else None
        if case.kind == LASTING:
            case.heal(lab)
            healed = time.time()
            control(lab, "start")
            after = serving(lab, life, BACK_SECONDS)
        if after:
            load.answered(1, 30)
    ended = float(after["since"]) if after else None
    begun = said_at(lab, f"starting {after['life']}") if after else None
    # From the moment the fault was over: before it nothing can serve.
    recovery = round(ended - max(healed, detected or 0), 1) if ended else None
    told |= {
        "detect_seconds": round(detected - began, 1) if detected else None,
        "serve_seconds": round(ended - began, 1) if ended else None,
        "recovery_seconds": recovery,
        # What of it the start itself took: the same work as in a cold start, at another moment of a noisy machine.
        "start_seconds": round(ended - begun, 1) if ended and begun else None,
        **compared(recovery, cold),
        "gave_up_seconds": round(gave_up, 1) if gave_up else None,
        "attempts": tried,
        "after": after["life"] if after else None,
        "violations": watcher.violations,
        "scans": watcher.scans,
        "requests": dict(load.outcomes(began)),
    }
    told["problems"] = list(problems(case, told))
    # What was stopped for good is still stopped, and must not meet the next case.
    if case.kind == EITHER and not (after or case.heal_after):
        cold_start(lab)
    return told


def compared(recovery: float | None, cold: float) -> dict[str, float | None]:
    """A recovery beside a cold start."""
    times = round(recovery / cold, 2) if recovery is not None else None
    return {"cold_start_seconds": round(cold, 1), "cold_starts": times}


def problems(case: Case, told: dict[str, Any]) -> list[str]:
    """What a case did not hold, as sentences."""
    found = []
    changed = told["after"] is not None
    if case.kind == NOTHING and (changed or told["detect_seconds"]):
        found.append("the gang was restarted, and need not have been")
    if case.kind not in (NOTHING, EITHER) and not changed:
        found.append("the gang does not serve again")
    if case.kind == EITHER and told["detect_seconds"] and not changed:
        found.append("the gang does not serve again")
    if (bound := DETECT_SECONDS.get(case.kind)) and (told["detect_seconds"] or 999) > bound:
        found.append(f"detected after {told['detect_seconds']} s, the bound is {bound} s")
    if case.kind == LASTING and told["gave_up_seconds"] is None:
        found.append("a fault that lasts was tried again and again")
    if case.kind == LASTING and told["attempts"] != ATTEMPTS:
        found.append(f"{told['attempts']} attempts were made, the budget is {ATTEMPTS}")
    if changed and told["cold_starts"] > RECOVERY:
        found.append(f"recovery took {told['cold_starts']} cold starts, the target is {RECOVERY}")
    found += [f"two lives at once: {line}" for line in told["violations"]]
    if case.kind == PLANNED and (cut := told["requests"].get("cut")):
        found.append(f"{cut} requests were cut off by an end that was planned")
    if late := told["requests"].get("late"):
        found.append(f"{late} requests got no answer and no refusal")
    return found


def table(told: dict[str, Any]) -> Iterator[str]:
    """Results as lines of a Markdown table, cases in the order of the matrix: medians, and the worst after a slash."""
    yield "| fault | runs | detected, s | serving again, cold starts | refused or failed, cut, late | not held |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for case in CASES:
        runs = [run for run in told["runs"] if run["case"] == case.name]
        if not runs:
            continue
        ends = [
            sum(run["requests"].get(end, 0) for run in runs for end in either)
            for either in (("refused", "error"), ("cut",), ("late",))
        ]
        held = "; ".join(dict.fromkeys(problem for run in runs for problem in run["problems"])) or "-"
        shown = [str(len(runs)), _spread(runs, "detect_seconds"), _spread(runs, "cold_starts"), f"{ends}"[1:-1], held]
        yield f"| {case.name} | {' | '.join(shown)} |"


def _spread(runs: list[dict[str, Any]], key: str) -> str:
    found = [float(run[key]) for run in runs if run[key] is not None]
    return f"{median(found):g} / {max(found):g}" if found else "-"


def main() -> None:
    """Run the matrix."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="cases whose name holds this word")
    parser.add_argument("--repeat", type=int, default=3, help="until each case has so many results, earlier ones too")
    parser.add_argument("--long", action="store_true", help="also the cases that last ten minutes")
    parser.add_argument("--cases", help="numbers of cases from 0, with commas, in the order in which to run them")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no case after so long")
    parser.add_argument("--table", action="store_true", help="print what was found so far")
    parser.add_argument("--out", type=Path, default=PROJECT / ".cache/chaos.json")
    arguments = parser.parse_args()
    if arguments.table:
        print("\n".join(table(json.loads(arguments.out.read_text()))))
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # The stream of requests ends as well.
    lab = Lab.for_checkout(PROJECT)
    numbers = [int(number) for number in arguments.cases.split(",")] if arguments.cases else range(len(CASES))
    chosen = [
        case
        for case in map(CASES.__getitem__, numbers)
        if (arguments.long or not case.long) and all(word in case.name for word in arguments.only)
    ]
    until = time.monotonic() + arguments.seconds
    commit = ["git", "-C", str(PROJECT), "rev-parse", "--short", "HEAD"]
    code = subprocess.run(commit, capture_output=True, text=True, check=False).stdout.strip()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    told = json.loads(arguments.out.read_text()) if arguments.out.exists() else {"runs": []}
    measured, cold, broken = float("-inf"), 0.0, False
    with Load(lab, every=1, tokens=16) as load:
        for turn in range(arguments.repeat):
            for case in chosen:
                if time.monotonic() > until:
                    break
                if sum(run["case"] == case.name for run in told["runs"]) > turn:
                    continue
                if time.monotonic() - measured > MEASURE_AGAIN_SECONDS:
                    measured, cold = time.monotonic(), cold_start(lab)
                    print(f"cold start {cold:.1f} s", flush=True)
                result = struck(lab, case, load, cold)
                if (result["cold_starts"] or 0) > RECOVERY:
                    # Was it the fault, or the machine? Judged by the mean of the cold starts before and after it.
                    before, measured, cold = cold, time.monotonic(), cold_start(lab)
                    result |= compared(result["recovery_seconds"], (before + cold) / 2)
                    result["problems"] = list(problems(case, result))
                told["runs"].append({"code": code, **result})
                arguments.out.write_text(json.dumps(told, indent=1))
                broken |= bool(result["problems"])
                words = "; ".join(result["problems"]) or "ok"
                print(
                    f"{case.name}: detect {result['detect_seconds']} s, serve {result['serve_seconds']} s, "
                    f"{result['cold_starts']} cold starts, {result['requests']}: {words}",
                    flush=True,
                )
    sys.exit(int(broken))


if __name__ == "__main__":
    main()
