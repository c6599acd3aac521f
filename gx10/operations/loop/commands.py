"""Commands beyond pyinfra's own: one that shows its output as it comes, and one that refuses with a sentence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from typing import TYPE_CHECKING

from pyinfra import host, logger
from pyinfra.api import OperationError
from pyinfra.api.command import PyinfraCommand, QuoteString, StringCommand
from pyinfra.connectors.util import CommandOutput
from typing_extensions import override

from gx10.transfer.through_ssh import TransferError

from .asking import forget

Commands = Generator[PyinfraCommand, None, None]

if TYPE_CHECKING:
    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.host import Host
    from pyinfra.api.state import State

    from gx10.weights.manifests import Manifests


class Command(StringCommand):
    """A command that changes its host, which is therefore asked anew by whoever wants to know something of it."""

    @override
    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> tuple[bool, CommandOutput]:
        try:
            done: tuple[bool, CommandOutput] = super().execute(state, host, connector_arguments)
            return done
        finally:
            forget(host.name)


class Narrated(Command):
    """A long command whose lines of progress are shown while it runs."""

    @override
    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> tuple[bool, CommandOutput]:
        connector_arguments.update(self.connector_arguments)
        try:
            return host.run_shell_command(self, print_output=True, print_input=state.print_input, **connector_arguments)
        finally:
            forget(host.name)


STATUS = "exit status "


def numbered(command: StringCommand) -> tuple[StringCommand | str, ...]:
    """A command that says its exit status last, which pyinfra keeps to itself."""
    return (command, "||", "{", "status=$?;", "echo", f"'{STATUS}'$status", ">&2;", "exit", "$status;", "}")


def exit_status(output: CommandOutput) -> int | None:
    """The exit status of a numbered command that failed; None where its connection was lost before it said one."""
    said = [line.removeprefix(STATUS) for line in output.stderr_lines if line.startswith(STATUS)]
    return int(said[-1]) if said and said[-1].isdecimal() else None


class Elsewhere(Narrated):
    """A long command that an operation of one host needs on another."""

    def __init__(self, on: str, *words: str | QuoteString | StringCommand) -> None:
        super().__init__(*words)
        self.on = on

    @override
    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> tuple[bool, CommandOutput]:
        return super().execute(state, state.inventory.get_host(self.on), connector_arguments)


class ControlWork(StringCommand):
    """Work of the control node itself for a host, told line by line; a fault is told with the host's name."""

    def __init__(self, what: str, work: Callable[[Callable[[str], None]], None]) -> None:
        super().__init__(what)
        self.work = work

    @override
    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> tuple[bool, CommandOutput]:
        try:
            self.work(lambda line: logger.info(f"{host.print_prefix}{line}"))
        except TransferError as error:
            logger.error(f"{host.print_prefix}{error}")
            return False, CommandOutput([])
        finally:
            forget(host.name)
        return True, CommandOutput([])


class Refusal(StringCommand):
    """Fails on this host with sentences, one a line, without a command having run."""

    @override
    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> tuple[bool, CommandOutput]:
        for line in self.get_masked_value().splitlines():
            logger.error(f"{host.print_prefix}{line}")
        return False, CommandOutput([])


class Recorded(Command):
    """Reads a manifest on the host and keeps it on this node."""

    def __init__(self, path: str, recorded: Manifests, model: str) -> None:
        super().__init__("cat", "--", QuoteString(path))
        self.recorded, self.model = recorded, model

    @override
    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> tuple[bool, CommandOutput]:
        done, output = host.run_shell_command(self, print_output=False, print_input=state.print_input)
        if not done:
            return False, output
        try:
            self.recorded.record(self.model, output.stdout)
        except (OSError, ValueError) as error:
            logger.error(f"{host.print_prefix}the manifest cannot be kept on this node: {error}.")
            return False, output
        return True, output


def elsewhere(concerned: Collection[str]) -> bool:
    """Whether an operation concerns other hosts than this one; notes it, so that the caller only returns.

    pyinfra orders operations by how many came before them on each host, so an operation that waits for another host's
    must be called on every host, and step back on those that it does not concern.
    """
    if host.name in concerned:
        return False
    host.noop(f"concerns {', '.join(concerned)} only")
    return True


def refuse(*sentences: str) -> Commands:
    """Fail this host's operation with sentences.

    While executing, other hosts finish the operation and the run stops after it; a dry run stops at once.
    """
    told = [f"{host.name}: {sentence}" for sentence in sentences]
    if not host.state.is_executing:
        raise OperationError("\n".join(told))
    # One command: pyinfra ends the operation on this host with the first that fails, and the others were never said.
    yield Refusal("\n".join(told))
