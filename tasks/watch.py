"""Watch: the reconciler on its host, with its timer, and its key on every host."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from gx10.described import watch_files
from gx10.described.description import Description
from gx10.described.live import live_question
from gx10.described.placed import entries, of_reconciler
from gx10.described.project import deployed_files, project_archive
from gx10.operations.files import files_described
from gx10.operations.system import units_enabled
from gx10.operations.watch import (
    environment_installed,
    hosts_known,
    key_authorized,
    project_deployed,
    reconciler_user,
)


@deploy("Watch")
def watch(description: Description) -> None:
    """Have the reconciler run every night."""
    cluster = description.cluster
    if not cluster.reconcile.enabled:
        question = watch_files.watch_question(description, host.name)
        key_authorized(name="Let no former reconciler log in", watch=question, node=None, origin=[])
        return
    node = watch_files.node(description)
    question = watch_files.watch_question(description, node)
    lock = watch_files.environment(description)[1]
    reconciler_user(name="Have the reconciler's user and its key", watch=question, node=node, home=watch_files.HOME)
    files_described(
        name="Write the reconciler's units and its command", entries=entries(of_reconciler(description, host.name))
    )
    project_deployed(
        name="Deploy the project for the reconciler",
        watch=question,
        node=node,
        files=deployed_files(description),
        restore=watch_files.restore_words(project_archive(description)),
    )
    environment_installed(
        name="Install the reconciler's environment from its wheels",
        watch=question,
        node=node,
        lock=lock,
        lock_file=f"{watch_files.PROJECT}/{watch_files.LOCK}",
        wheels=str(cluster.reconcile.wheels),
        project=watch_files.PROJECT,
    )
    addresses = {name: [str(described.management)] for name, described in cluster.hosts.items()}
    hosts_known(
        name="Let the reconciler know the hosts", watch=question, node=node, path=watch_files.KNOWN_HOSTS,
        addresses=addresses,
    )  # fmt: skip
    key_authorized(
        name="Let the reconciler log in", watch=question, node=node, origin=addresses[node],
    )  # fmt: skip
    units_enabled(
        name="Run the reconciler every night",
        units=[watch_files.TIMER] if host.name == node else [],
        running=True,
        live=live_question(description, host.name),
    )
