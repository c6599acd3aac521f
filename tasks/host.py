"""Host: packages, directories, programs, kernel parameters, names, share and firewall."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from gx10.engine import host_files
from gx10.engine.description import Description
from gx10.engine.live import live_question
from gx10.operations.files import Directory, File, block_leads_file, files_described
from gx10.operations.system import (
    default_target_is,
    group_members_present,
    packages_present,
    services_current,
    sysctls_live,
    units_enabled,
)

HOSTS_FILE, TITLE = "/etc/hosts", "gx10"


def host_entries(description: Description, name: str) -> list[File | Directory]:
    """Files and directories of a host beside the gang's own."""
    cluster = description.cluster
    services = (host_files.share(description, name), host_files.firewall(description))
    return [
        Directory("/etc/gx10"),
        Directory(str(cluster.paths.state)),
        Directory(str(cluster.paths.archive)),
        Directory(str(cluster.paths.model_root)),
        *(File(path, text, mode="755") for path, text in host_files.programs(description).items()),
        File("/etc/gx10/images.json", host_files.image_policy_file(description)),
        File("/etc/sysctl.d/90-gx10.conf", host_files.sysctl_file(cluster)),
        *(File(service.path, service.text) for service in services),
        *(File(f"{host_files.UNITS}/{service.unit}", service.unit_text) for service in services),
    ]


@deploy("Host")
def host_tuned(description: Description) -> None:
    """Bring the host to what carries a rank: memory for the model, names on the fabric, control ports closed."""
    cluster = description.cluster
    share, firewall = host_files.share(description, host.name), host_files.firewall(description)
    packages_present(name="Install the packages that the gang needs", packages=cluster.host.packages)
    files_described(
        name="Write the directories, programs, kernel parameters and services of the host",
        entries=host_entries(description, host.name),
    )
    sysctls_live(name="Set the kernel parameters that run", sysctls=cluster.host.sysctls)
    block_leads_file(
        name="Resolve the hosts' names on the fabric",
        path=HOSTS_FILE,
        title=TITLE,
        lines=host_files.host_names(cluster),
    )
    if cluster.host.operators:
        group_members_present(name="Let the operators use Docker", group="docker", members=cluster.host.operators)
    if cluster.host.headless:
        default_target_is(name="Boot without a desktop", target="multi-user.target")
    units_enabled(name="Start share and firewall at boot", units=[share.unit, firewall.unit])
    services_current(
        name="Run share and firewall as described",
        services={share.unit: share.digest, firewall.unit: firewall.digest},
        live=live_question(description, host.name),
        firewall=firewall.unit,
    )
