"""How `pyinfra inventory.py deploy.py` was called and how it ends, where pyinfra itself is too lenient for a gang.

pyinfra 3.10.0 deploys to the hosts that `--limit` leaves, to none at all where the inventory is mistyped, and ends with
0; `--no-wait` hides failures, `--serial` has a host wait for what others never begin, `--dry -y` compares nothing.
After SIGINT it ends with 0 as well. It reads config.py before anything else, so this is where that is closed.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import click
import gevent
import gevent.select
import greenlet
from pyinfra import logger
from pyinfra.api.host import Host
from pyinfra.api.state import State, StateStage
from pyinfra.context import ctx_state

from gx10.interrupts import AGAIN_SECONDS, INTERRUPTED, SIGNALS, by, tell

USAGE = 64
"""Exit status of a command line that is refused (EX_USAGE)."""
ORDERLY_SECONDS = 15
"""How long an interrupted run may take to let go of hosts and lock."""

WHOLE = "A gang is all its hosts: one that is left out would wait for the others on another generation"
REFUSED = {
    "limit": f"{WHOLE}. Leave --limit out; a host that is gone for good is taken out of the cluster file.",
    "exclude": f"{WHOLE}. Leave --exclude out; a host that is gone for good is taken out of the cluster file.",
    "serial": "The hosts of a gang do each step together, and some steps wait for another host. Leave --serial out.",
    "no_wait": "With --no-wait a host goes on after another one has failed, and the run ends as if all were well."
    " Leave it out.",
}
"""Options of pyinfra that are refused, by the name that it gives them, and why."""


STOPPED = {
    StateStage.Connect: "cannot be logged in to, see above. A gang is all its hosts: nothing was changed on any.",
    StateStage.Prepare: "cannot be deployed to, see above. Nothing was changed on any host.",
    StateStage.Execute: "failed, see above. The same command continues where this run ended.",
}
"""How a run ends whose hosts failed, by its stage."""

BEFORE = {
    StateStage.Setup: "before any host was contacted",
    StateStage.Connect: "while hosts were logged in to",
    StateStage.Prepare: "while hosts were asked what differs",
}
"""When a run was interrupted that had not begun to change anything."""


@dataclass(frozen=True)
class UnderWay:
    """An operation that a host had begun."""

    operation: str
    host: str
    seconds: float
    goes_on: str = ""
    """What goes on by itself on the host, where the operation says so."""


@dataclass
class Progress:
    """How far a run is."""

    stage: StateStage = StateStage.Setup
    changed: list[tuple[str, list[str]]] = field(default_factory=list)
    """Operations that changed something, and on which hosts."""
    failed: list[tuple[str, list[str]]] = field(default_factory=list)
    under_way: list[UnderWay] = field(default_factory=list)
    not_begun: int = 0


under_way: Callable[[], list[UnderWay]] = list
"""What hosts have begun and not ended; the journal of the run tells."""


read_by_a_person = False
"""Whether the plan is printed for a person, as opposed to a program that takes it as JSON."""


def refusals(options: dict[str, object], terminal: bool) -> list[str]:
    """Why a command line is refused; nothing when it is not."""
    told = [sentence for option, sentence in REFUSED.items() if options.get(option)]
    if options.get("dry") and options.get("yes"):
        told.append("-y skips the comparison that --dry is about: nothing would ever differ. Leave one of them out.")
    if _only_asks(options):
        return told
    inventory = Path(str(options.get("inventory")))
    if not inventory.is_file():
        told.append(f"There is no inventory {inventory} here. Write inventory.py, in the project's own directory.")
    if not (options.get("dry") or options.get("yes") or options.get("json_output") or terminal):
        told.append("There is no terminal to ask on before the run: add -y to go on at once, or --dry to only compare.")
    return told


def _only_asks(options: dict[str, object]) -> bool:
    """Whether no deploy is run: facts, the inventory or operations are printed, or one command is run."""
    operations = options.get("operations")
    first = operations[0] if isinstance(operations, tuple | list) and operations else ""
    return not str(first).endswith(".py") or bool(options.get("debug_operations") or options.get("debug_facts"))


def begin() -> None:
    """Refuse what a gang cannot be deployed with, and answer to signals from here on."""
    context = click.get_current_context(silent=True)
    if context is None:
        return
    if told := refusals(context.params, sys.stdin.isatty()):
        for sentence in told:
            tell(sentence)
        raise SystemExit(USAGE)
    global read_by_a_person  # noqa: PLW0603 - one process is one run
    read_by_a_person = not context.params.get("json_output")
    quiet_paramiko(debug=bool(context.params.get("debug_all")))
    ending = Ending(greenlet.getcurrent())
    for number in SIGNALS:
        signal.signal(number, ending)
    _wake_up_for_signals()
    vars(sys.modules["pyinfra_cli.cli"])["input"] = _typed


def _typed() -> str:
    """What somebody types at pyinfra's question, waited for in gevent's loop: a signal that comes just before a read
    begins to wait is heard when the read is over."""
    if sys.stdin.isatty():
        gevent.select.select([sys.stdin], [], [])
    return input()


def _wake_up_for_signals() -> None:
    """Have gevent's loop wake up for a signal that comes just before it begins to wait.

    Python only remembers a signal, and calls its handler at the next instruction. A loop that begins to wait in between
    would come to none until a host says something.
    """
    heard, told = os.pipe()
    for end in (heard, told):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    watcher = gevent.get_hub().loop.io(heard, 1, ref=False)
    watcher.start(lambda: os.read(heard, 64))


def quiet_paramiko(*, debug: bool) -> None:
    """Leave out paramiko's own words on a connection: the connector says in one sentence what takes it thirty lines."""
    if not debug:
        logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)


def whole_or_not(state: State) -> None:
    """Stop at a host that fails, without asking: there is nothing that the others of a gang could go on with."""

    def fail_hosts(hosts: set[Host], activated_count: int | None = None) -> None:
        if not hosts:
            return
        state.failed_hosts.update(hosts)
        state.active_hosts -= hosts
        failed = ", ".join(sorted(host.name for host in hosts))
        logger.error(f"--> {failed} {STOPPED.get(state.current_stage, STOPPED[StateStage.Execute])}")
        raise SystemExit(1)

    state.fail_hosts = fail_hosts  # type: ignore[method-assign]


class Ending:
    """The handler of signals of a run: says how far it is, lets go of hosts and lock, ends with the signal's status."""

    def __init__(self, main: greenlet.greenlet) -> None:
        self.main = main
        self.since = 0.0

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Begin to end. Python runs this between any two of its instructions, in whichever greenlet is at work."""
        status = INTERRUPTED + number
        if self.since:
            if time.monotonic() - self.since > AGAIN_SECONDS:
                os._exit(status)
            return
        self.since = time.monotonic()
        tell(told(number, progress(), sys.argv))
        # Whatever holds it up now: it was told to end.
        signal.signal(signal.SIGALRM, lambda *_: os._exit(status))
        signal.alarm(ORDERLY_SECONDS)
        if greenlet.getcurrent() is self.main:
            self._let_go()
            raise SystemExit(status)
        gevent.get_hub().loop.run_callback_threadsafe(self._end, status)

    def _end(self, status: int) -> None:
        self._let_go()
        self.main.throw(SystemExit(status))

    @staticmethod
    def _let_go() -> None:
        """End what waits for hosts: pyinfra has as many places as hosts, and needs one to say goodbye to each."""
        state = _state()
        for pool in (state.pool, state.fact_pool) if state else ():
            pool.kill(block=False)


def ending() -> bool:
    """Whether this run was told to end, so that what fails now fails because of it."""
    handler = signal.getsignal(signal.SIGINT)
    return isinstance(handler, Ending) and bool(handler.since)


def deployed_whole() -> bool:
    """Whether this run has deployed everything, to every host."""
    state = _state()
    whole = state is not None and state.current_stage is StateStage.Disconnect and not state.failed_hosts
    return whole and "deploy.py" in sys.argv


def _state() -> State | None:
    state: State | None = ctx_state.get() if ctx_state.isset() else None  # type: ignore[no-untyped-call]
    return state if state is not None and state.initialised else None


def progress() -> Progress:
    """How far this run is."""
    state = _state()
    if state is None:
        return Progress()
    told = Progress(state.current_stage)
    if not state.is_executing:
        return told
    told.under_way = under_way()
    begun = {(entry.operation, entry.host) for entry in told.under_way}
    for identity in state.get_op_order():  # type: ignore[no-untyped-call]
        name = ", ".join(sorted(state.op_meta[identity].names))
        ended = {
            host.name: operations[identity].operation_meta
            for host, operations in state.ops.items()
            if identity in operations and operations[identity].operation_meta.is_complete()
        }
        if changed := sorted(host for host, meta in ended.items() if meta.did_change()):
            told.changed.append((name, changed))
        if failed := sorted(host for host, meta in ended.items() if meta.did_error()):
            told.failed.append((name, failed))
        if not ended and not any(operation == name for operation, _ in begun):
            told.not_begun += 1
    return told


def told(number: int, progress: Progress, words: list[str]) -> str:
    """What an interrupted run says: what was done, what was not, what goes on, and what to type next."""
    command = shlex.join([Path(words[0]).name, *words[1:]])
    lines = ["", f"{by(number)}."]
    if progress.stage < StateStage.Execute:
        lines.append(f"That was {BEFORE[progress.stage]}: nothing was changed on any host.")
        return "\n".join([*lines, f"Next: `{command}` begins again."])
    for heading, done in (("changed", progress.changed), ("failed", progress.failed)):
        lines += [f"  {heading}: {name}, on {', '.join(hosts)}" for name, hosts in done]
    if not progress.changed:
        lines.append("  changed: nothing")
    for name in dict.fromkeys(entry.operation for entry in progress.under_way):
        entries = [entry for entry in progress.under_way if entry.operation == name]
        hosts = ", ".join(sorted(entry.host for entry in entries))
        goes_on = entries[0].goes_on or "what a host has begun may go on there to its end"
        lines.append(f"  under way for {max(entry.seconds for entry in entries):.0f} s: {name}, on {hosts}; {goes_on}")
    if progress.not_begun:
        lines.append(f"  not begun: {progress.not_begun} operation{'s' * (progress.not_begun > 1)}")
    lines.append(f"Next: `gx10 status` shows how it stands; `{command}` continues where this run ended.")
    return "\n".join(lines)
