"""Host: packages, directories, programs, kernel parameters, names, share and firewall."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from gx10.access.login import ssh_arguments
from gx10.described import host_files
from gx10.described.description import Description
from gx10.described.live import live_question
from gx10.described.placed import HEADLESS_TARGET, HOSTS_FILE, OPERATORS_GROUP, TITLE, entries, on_host
from gx10.operations.files import block_leads_file, files_described
from gx10.operations.live import earlier_byte_code_removed
from gx10.operations.system import (
    default_target_is,
    group_members_present,
    packages_present,
    services_current,
    sysctls_live,
    units_enabled,
)


@deploy("Host")
def host_tuned(description: Description) -> None:
    """Bring the host to what carries a rank: memory for the model, names on the fabric, control ports closed."""
    cluster = description.cluster
    share, firewall = host_files.share(description, host.name), host_files.firewall(description)
    packages_present(name="Install the packages that the gang needs", packages=cluster.host.packages)
    files_described(
        name="Write the directories, programs, kernel parameters and services of the host",
        entries=entries(on_host(description, host.name)),
    )
    earlier_byte_code_removed(
        name="Remove the byte code of earlier programs",
        live=live_question(description, host.name),
        directory=f"/{host_files.FORMER_PROGRAMS}",
    )
    sysctls_live(name="Set the kernel parameters that run", sysctls=cluster.host.sysctls, file=host_files.SYSCTL_FILE)
    block_leads_file(
        name="Resolve the hosts' names on the fabric",
        path=HOSTS_FILE,
        title=TITLE,
        lines=host_files.host_names(cluster),
    )
    if cluster.host.operators:
        group_members_present(
            name="Let the operators use Docker", group=OPERATORS_GROUP, members=cluster.host.operators
        )
    if cluster.host.headless:
        default_target_is(name="Boot without a desktop", target=HEADLESS_TARGET)
    units_enabled(name="Start share and firewall at boot", units=[share.unit, firewall.unit])
    services_current(
        name="Run share and firewall as described",
        services={share.unit: share.digest, firewall.unit: firewall.digest},
        live=live_question(description, host.name),
        firewall=firewall.unit,
        login=ssh_arguments(description, host.name),
    )
