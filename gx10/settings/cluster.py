"""The cluster file: hosts, addresses, fabric, paths and policy. `clusters/NAME.yaml` holds one.

In one file because it documents one: whoever writes a cluster file finds every key of it here, in its order.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import Field

from .base import Settings
from .reconcile import Reconcile
from .types import AbsolutePath, Environment, HostName, Interface, OneLine


class Host(Settings):
    """One host of the cluster."""

    management: IPv4Address
    """Address you log in over."""

    fabric: tuple[IPv4Address, ...] = Field(min_length=1)
    """One address per fabric rail, in the order of `networks.fabric`. Ray and the bulk transfers use them."""

    visible_memory_gib: float = Field(default=111.27, gt=0)
    """Memory the engine can see on this host, in GiB. A GX10 has 128 GiB, of which about 111 remain after the
    CMA reservation and the driver; 111.27 is the tightest host measured."""

    total_memory_gib: float = Field(default=119.7, gt=0)
    """Memory that CUDA reports on this host, in GiB. vLLM takes `--gpu-memory-utilization` as a fraction of it, so
    its default of 0.92 asks for 110.12 GiB."""

    @property
    def address(self) -> str:
        """The host's address on the first fabric rail, where its ranks, its Ray and its supervisor are reached."""
        return str(self.fabric[0])


class Management(Settings):
    """The network you log in over."""

    subnet: IPv4Network
    """Subnet of the management addresses."""

    interface: Interface
    """Interface of the management network on every host, for example `enP7s7`."""


class Rail(Settings):
    """One half of the fabric NIC: a network device with its own subnet."""

    subnet: IPv4Network
    """Subnet of this rail. The two halves of one NIC must be in different subnets."""

    interface: Interface
    """Network device on every host, for example `enp1s0f0np0`."""

    rdma_device: Interface | None = None
    """RDMA device of this rail, for example `rocep1s0f0`; none where the fabric has no RDMA."""


class Networks(Settings):
    """Management and fabric."""

    management: Management
    """The network you log in over."""

    fabric: tuple[Rail, ...] = Field(min_length=1, max_length=4)
    """Rails of the fabric. The first one carries Ray and the rendezvous of the ranks."""


class Access(Settings):
    """How the control node logs in."""

    user: str = Field(default="root", pattern=r"^[a-z_][a-z0-9_-]*$")
    """User that provisions. It needs to be root: units, Docker and sysctls are its work."""

    port: int = Field(default=22, ge=1, le=65535)
    """Port of sshd."""

    ssh_config: Path | None = Field(default=None, examples=["~/.ssh/gx10.config"])
    """An OpenSSH client configuration to use instead of `~/.ssh/config`; relative to the project."""

    key: Path | None = Field(default=None, examples=["~/.ssh/id_ed25519"])
    """Private key file; relative to the project. Left out: what ssh_config or the agent offers."""

    known_hosts: Path | None = Field(default=None, examples=["~/.ssh/known_hosts"])
    """Known hosts file; relative to the project. Left out: `~/.ssh/known_hosts`."""


class Container(Settings):
    """What containers on these hosts get from the hardware and the Docker daemon."""

    runtime: Literal["nvidia"] | None = "nvidia"
    """Docker runtime that brings the GPU in; none on hosts without one."""

    devices: tuple[AbsolutePath, ...] = (PurePosixPath("/dev/infiniband"),)
    """Device nodes or directories handed to the Ray and engine containers. RDMA needs /dev/infiniband."""

    nofile: int = Field(default=1048576, ge=1024)
    """Limit of open files in a container. 113 shards loaded by many threads pass the usual 1024."""

    memlock_unlimited: bool = True
    """Lift the limit of locked memory, which RDMA registration needs."""

    memory_cap_gib: float | None = Field(default=None, gt=0, examples=[16])
    """Hard limit, in GiB, of each container's control group: past it the kernel kills in the container. What a GPU
    takes of unified memory does not count there, so it is no budget: it bounds what grows beside the model. What the
    container writes to /dev/shm, which is the host's own, counts. Left out: none."""

    model_mount: AbsolutePath = PurePosixPath("/root/.cache/huggingface")
    """Where the model root appears inside the containers."""


SHARE, SHARE_PORT = "the share of weights and images", 8730
"""On every host; nobody needs to move it."""


class RayPorts(Settings):
    """Every port of Ray that can be pinned, so that the firewall can name them."""

    gcs: int = Field(default=6379, ge=1024, le=65535)
    """Port of the head's control store, which workers and the engine join."""
    node_manager: int = Field(default=6380, ge=1024, le=65535)
    """Port of each raylet."""
    object_manager: int = Field(default=6381, ge=1024, le=65535)
    """Port of each object store."""
    runtime_env_agent: int = Field(default=6382, ge=1024, le=65535)
    """Port of each runtime environment agent."""
    dashboard_agent_grpc: int = Field(default=6383, ge=1024, le=65535)
    """gRPC port of each dashboard agent, which runs even with the dashboard off."""
    dashboard_agent_http: int = Field(default=6384, ge=1024, le=65535)
    """HTTP port of each dashboard agent."""
    metrics: int = Field(default=6385, ge=1024, le=65535)
    """Port on which each node exports Ray's own metrics."""
    client: int = Field(default=6386, ge=1024, le=65535)
    """Port of the Ray client server on the head."""
    worker_min: int = Field(default=20000, ge=1024, le=65535)
    """First port of the range for worker processes."""
    worker_max: int = Field(default=20999, ge=1024, le=65535)
    """Last port of the range for worker processes."""


class Ray(Settings):
    """Ray on every host."""

    ports: RayPorts = RayPorts()
    """Pinned ports."""

    object_store_gib: float = Field(default=1, gt=0)
    """Object store per host in GiB. Ray would take up to 30 % of the memory the model needs."""

    cpus: int = Field(default=2, ge=1)
    """CPUs that Ray believes to have; tensor-parallel ranks need one each."""

    gpus: int = Field(default=1, ge=0)
    """GPUs of each host."""

    reconnect_timeout_seconds: int = Field(default=15, ge=5)
    """A raylet that lost the head gives up after this long; by default it holds memory for 60 s."""

    environment: Environment = Field(default_factory=dict, examples=[{"NCCL_DEBUG": "WARN"}])
    """Further environment of the Ray containers."""


class Paths(Settings):
    """Directories on the hosts."""

    model_root: AbsolutePath = PurePosixPath("/srv/models")
    """The directory that holds model weights: the model partition."""

    state: AbsolutePath = PurePosixPath("/var/lib/gx10")
    """What this package keeps on a host: build context, manifests, environment files."""

    archive: AbsolutePath = PurePosixPath("/var/lib/gx10/archive")
    """Image archives, kept by content so that a lost image is restored without a build."""


class Retention(Settings):
    """What stays of images that are not described any more, and where a copy of the archive is kept."""

    control_archive: Path | None = Field(
        default=Path("~/.local/share/gx10/archive"), examples=["/srv/gx10/archive"], validate_default=True
    )
    """Directory of the control node that holds a copy of the described image's archive; relative to the project. With
    none, only the head keeps one: choose that where the control node is the head, or has no room."""

    keep_previous: int = Field(default=1, ge=0)
    """Images described before the present one that stay in Docker on every host, to go back to without a transfer."""

    keep_archives: int = Field(default=3, ge=1)
    """Archived images that stay on the head, and on the control node: those in use count, and always stay."""

    archive_gib: float | None = Field(default=None, gt=0, examples=[200])
    """Size, in GiB, to which an archive is reduced, as far as images in use allow. Left out: only the number counts."""

    build_cache_gib: float = Field(default=60, ge=0)
    """Build cache, in GiB, that stays on the head, so that a changed mod does not build everything anew."""


class HostPolicy(Settings):
    """What a host is tuned to."""

    architecture: Literal["aarch64", "x86_64"] = "aarch64"
    """Machine architecture expected on every host."""

    gpu: str = "GB10"
    """GPU of every host. With `GB10` the rules of its sm_121 apply: which kernels it has, and which it has not."""

    packages: tuple[str, ...] = ("zstd", "nftables", "python3")
    """Debian or Ubuntu packages that must be present; DGX OS brings Docker and the driver itself."""

    operators: tuple[str, ...] = Field(default=(), examples=[["ada"]])
    """Existing users that may use Docker without sudo."""

    sysctls: dict[OneLine, int | OneLine] = {  # noqa: RUF012 - pydantic copies defaults
        "vm.swappiness": 1,
        "vm.max_map_count": 1048576,
        "net.core.rmem_max": 134217728,
        "net.core.wmem_max": 134217728,
    }
    """Kernel parameters, written to /etc/sysctl.d and set live. Swapping a model costs 20 times its speed."""

    headless: bool = True
    """Boot to multi-user.target: a desktop takes 2 to 3 GiB of the model's memory."""

    drop_page_cache: bool = True
    """Drop the page cache before Ray starts: on unified memory it competes with the model."""

    min_free_gib: float = Field(default=20, ge=0)
    """Space in GiB that must stay free on the file systems of Docker and archive; weights: `models.min_free_gib`."""

    needed_to_start_gib: float | None = Field(default=None, ge=0, examples=[109])
    """MemAvailable, in GiB, that every host must have before a rank starts: with less, the gang waits, which costs no
    attempt. Left out: the engine's budget and the recipe's `gx10.limits.budget_margin_gib`, rung by rung of its
    fallbacks. With less the engine itself would refuse to start, so only hosts without a GPU may need less."""

    @property
    def unified_memory(self) -> bool:
        """Whether CPU and GPU share one memory."""
        return self.gpu == "GB10"


class GangPolicy(Settings):
    """How the hosts hold together."""

    port: int = Field(default=6390, ge=1024, le=65535)
    """Port of the supervisors, on the first fabric rail."""

    lease_seconds: float = Field(default=20, ge=5)
    """A host that hears nothing from the head for so long ends its rank by itself."""

    silence_seconds: float = Field(default=6, ge=3)
    """A host that does not answer for so long is silent: it is gone, unless tokens still come from all ranks."""

    hook: AbsolutePath | None = Field(default=None, examples=["/usr/local/bin/page-me"])
    """A program on the head that is run when the gang is left failed or a generation is put back, with the event as
    its argument and a JSON object on its standard input."""


Kind = Literal["incomplete", "partial", "orphan", "bypassed", "revision", "compile-cache", "unnamed"]


class Models(Settings):
    """What lies in the model root, and what may go from it."""

    keep: tuple[str, ...] = Field(default=(), examples=[["nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-NVFP4"]])
    """Models that stay whatever is served: directories below the model root, or `ORG/NAME` of hub caches there."""

    clean: tuple[Kind, ...] = ("incomplete", "partial", "orphan", "bypassed")
    """What a deploy may remove, before it stages and only as much as is needed: `incomplete` downloads of a hub,
    `partial` files of transfers, `orphan` blobs that no revision uses, hub caches that a complete directory of the same
    model makes needless (`bypassed`), old revisions (`revision`), compile caches of images that are gone
    (`compile-cache`), and models that no recipe names (`unnamed`). `gx10 models clean` removes the same."""

    min_free_gib: float = Field(default=20, ge=0)
    """Space in GiB that must stay free in the model root when the weights are staged."""

    stale_hours: float = Field(default=24, ge=0)
    """How long something unfinished must have been left alone before it counts as left behind."""

    mount: bool = False
    """The model root must be a mount point of its own; otherwise nothing is staged or removed."""

    nights: int = Field(default=7, ge=1, le=366)
    """Nights in which the hash of every file of weights and archive is checked once, a part each night."""

    hub_token_file: AbsolutePath | None = Field(default=None, examples=["/etc/gx10/hub-token"])
    """File with a Hugging Face token on the host that fetches, readable by root alone. It is mounted read-only into the
    container that fetches, and read by the hub's own library."""

    hub_endpoint: str | None = Field(
        default=None, examples=["https://hub.example.org"], pattern=r"^https?://[^\s/]+(/[^\s]*)?$"
    )
    """Another address of the hub, such as a mirror."""


class Cluster(Settings):
    """A cluster: which hosts there are, how they are reached, and what they serve."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Name of the cluster, the same as the file's."""

    recipe: str = Field(min_length=1)
    """The recipe that is served: the name of a file in `recipes/` without its ending."""

    head: HostName
    """The host that runs the Ray head and the engine's API."""

    hosts: dict[HostName, Host] = Field(min_length=1)
    """The hosts by name."""

    networks: Networks
    """Management and fabric networks."""

    access: Access = Access()
    """How the control node logs in."""

    images: dict[str, str] = Field(default_factory=dict, examples=[{"vllm-node": "my-vllm-node"}])
    """Image descriptions to use instead of the one a recipe names: container name to file name in `images/`."""

    container: Container = Container()
    """What containers get from the hardware."""

    ray: Ray = Ray()
    """Ray on every host."""

    gang: GangPolicy = GangPolicy()
    """How the hosts hold together."""

    paths: Paths = Paths()
    """Directories on the hosts."""

    retention: Retention = Retention()
    """What stays of earlier images."""

    host: HostPolicy = HostPolicy()
    """What a host is tuned to."""

    models: Models = Models()
    """What lies in the model root, and what may go from it."""

    reconcile: Reconcile = Reconcile()
    """How drift is found and put back every night."""

    @property
    def workers(self) -> tuple[str, ...]:
        """Names of the hosts that are not the head, in the file's order."""
        return tuple(name for name in self.hosts if name != self.head)

    @property
    def bound_ports(self) -> dict[str, int]:
        """Every port that something of ours or sshd binds on a host, but the engine's and Ray's range, by its key."""
        ports = self.ray.ports
        named = {name: getattr(ports, name) for name in type(ports).model_fields if not name.startswith("worker_")}
        rays = {f"ray.ports.{name}": port for name, port in named.items()}
        return {**rays, "gang.port": self.gang.port, "access.port": self.access.port, SHARE: SHARE_PORT}

    @property
    def head_address(self) -> str:
        """The head's address on the first fabric rail."""
        return self.hosts[self.head].address
