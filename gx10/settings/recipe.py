"""The recipe: one model and the engine configuration that serves it. `recipes/NAME.yaml` holds one.

The keys outside `gx10` are schema version 1 of spark-vllm-docker, so that recipes made for it load here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from .base import Settings
from .types import AbsolutePath, Environment, HostName, OneLine, RelativePath

Scalar = str | int | float | bool | None


class Limit(Settings):
    """A validated ceiling with the measurement or pitfall behind it."""

    value: float = Field(gt=0)
    """The highest value that was validated."""

    reason: str = Field(min_length=1)
    """What happens above it, and where that was seen."""


class Limits(Settings):
    """Validated ceilings of one model variant on this hardware. What is left out is not checked."""

    context_tokens: Limit | None = None
    """Longest context the model's own configuration supports (`--max-model-len`)."""

    batched_tokens: Limit | None = None
    """Largest `--max-num-batched-tokens` that survived a long prefill."""

    sequences: Limit | None = None
    """Largest `--max-num-seqs`."""

    speculative_tokens: Limit | None = None
    """Most speculative tokens that were validated at the served context."""

    budget_gib: Limit | None = None
    """Largest memory budget per host, in GiB, that was validated: what `--gpu-memory-utilization-gb` gives, or the
    fraction `--gpu-memory-utilization` of `total_memory_gib`."""

    budget_margin_gib: Limit = Limit(
        value=0.5, reason="closer than this to what a host shows, the driver itself runs out of memory"
    )
    """What must stay available on every host beside the budget, in GiB. The mod `gpu-mem-util-gb` refuses to leave
    less, and ranks wait until budget and margin are available."""

    budget_floor_gib: Limit | None = None
    """Least memory budget per host, in GiB, that a fallback may go down to."""


class ModelSource(Settings):
    """Where weights come from when no host has them."""

    directory: AbsolutePath | None = Field(default=None, examples=["/srv/import/models/my-model"])
    """A directory on the head, or on `host`."""

    host: HostName | None = Field(default=None, examples=["gx10-3"])
    """The host that has `directory`, where that is not the head."""

    control: Path | None = Field(default=None, examples=["~/models/my-model"])
    """A directory on the control node, relative to the project; sent to the head through ssh."""

    hub: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$")
    """A Hugging Face repository, fetched once, to the head."""

    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$", examples=["a6f2…, 40 digits"])
    """Commit of the repository, 40 hex digits. A branch name is refused: it moves."""


class Model(Settings):
    """The weights that the recipe serves."""

    path: RelativePath
    """Directory of the weights below the model root."""

    quantization: Literal["nvfp4", "fp8", "bf16"] | None = None
    """How the experts are stored, which decides the MoE backends that can run them. Left out: not checked."""

    draft_quantization: Literal["nvfp4", "fp8", "bf16"] | None = None
    """How the experts of the draft (MTP) head are stored; often `bf16` where the model itself is quantized."""

    source: ModelSource = ModelSource()
    """Where they come from when no host has them; nothing named means that the head must have them."""


class BootLine(Settings):
    """A log line that proves a feature was really wired up at boot."""

    text: str
    """Text that must stand in the engine's log."""

    per_rank: bool = False
    """Whether it must appear once per tensor-parallel rank instead of at least once."""

    proves: str
    """What its absence means."""


class Liveness(Settings):
    """When a running engine counts as dead. Any movement of its own counters is a sign of life."""

    canary_seconds: float = Field(default=60, ge=1)
    """So long may the engine's counters stand still, idle or not, before a completion of one token is asked for."""

    deadline_seconds: float = Field(default=60, ge=1)
    """Such a completion is missed when it takes longer than this while the counters still do not move."""

    misses: int = Field(default=3, ge=1)
    """So many misses in a row are a wedge, and the gang restarts."""


class Budget(Settings):
    """How often the gang is started again by itself. Waiting for hosts, memory or cables costs nothing."""

    attempts: int = Field(default=4, ge=1)
    """Starts in a row that fail, or do not serve for `stable_seconds`, before the gang is left failed."""

    stable_seconds: float = Field(default=300, ge=0)
    """A life that served for so long was a good one: attempts are counted from zero again."""

    daily: int = Field(default=24, ge=1)
    """Unplanned restarts within a day before the gang is left failed: crashes of the driver leak memory on GB10."""

    rollback_after: int = Field(default=2, ge=1)
    """Failed starts of a new generation before the one that served last is put back, once."""


class Fallback(Settings):
    """One rung of the ladder that a start goes down when memory ran out. A rung keeps what those before it gave up."""

    name: OneLine = Field(min_length=1, max_length=60)
    """What is given up, for status and reports."""

    without: tuple[str, ...] = Field(default=(), examples=[["--speculative-config"]])
    """Flags that are left out, with their values."""

    defaults: dict[str, Scalar] = Field(default_factory=dict, examples=[{"max_num_seqs": 4}])
    """Other values for placeholders of the command."""


class Gx10(Settings):
    """What this package adds to a recipe of spark-vllm-docker."""

    extends: str | None = Field(default=None, examples=["nemotron-3-ultra-nvfp4"])
    """Another recipe that this one starts from. Keys given here replace or, for mappings, join those of the other;
    `null` removes what the other has."""

    model: Model | None = None
    """The weights."""

    limits: Limits = Limits()
    """Validated ceilings."""

    start_timeout_seconds: int = Field(default=1800, ge=60)
    """How long a start may take until the first completion. Boot takes 12 to 13 minutes for 82 GiB per rank."""

    stop_timeout_seconds: int = Field(default=60, ge=5)
    """How long a stop may take, after the drain, before processes are killed."""

    drain_timeout_seconds: int = Field(default=600, ge=0)
    """How long a planned stop waits for running requests; new ones are refused meanwhile."""

    liveness: Liveness = Liveness()
    """When a running engine counts as dead."""

    budget: Budget = Budget()
    """How often the gang is started again by itself."""

    fallbacks: tuple[Fallback, ...] = ()
    """What to give up, in this order, one rung for each start that fails because memory ran out. None: nothing."""

    boot_lines: tuple[BootLine, ...] = ()
    """Log lines that prove that optional features were really wired up."""

    environment: Environment = Field(default_factory=dict)
    """Environment of the engine beside the recipe's own `env`: paths, timeouts and what a cluster's hosts need."""


class Recipe(Settings):
    """One model and the engine configuration that serves it."""

    recipe_version: Annotated[Literal["1"], BeforeValidator(lambda found: "1" if found == 1 else found)]
    """Schema version of spark-vllm-docker's recipes."""

    name: str = Field(min_length=1)
    """Name of the recipe for people."""

    description: str = ""
    """What it serves and what it was validated on."""

    model: str | None = None
    """Hugging Face name of the model."""

    container: str = Field(min_length=1)
    """Image that serves it: the name of a file in `images/` without its ending."""

    mods: tuple[str, ...] = ()
    """Patches baked into the image: directories below `files/image/mods`, with or without a leading `mods/`."""

    defaults: dict[str, Scalar] = Field(default_factory=dict)
    """Values for the placeholders of `command`."""

    env: Environment = Field(default_factory=dict)
    """Environment of the engine."""

    command: str = Field(min_length=1)
    """The engine's command line: one `str.format` over `defaults`, so braces of JSON are doubled."""

    build_args: tuple[str, ...] = Field(default=(), examples=[["--pre-transformers"]])
    """Arguments for spark-vllm-docker's own build script; read for compatibility, this package's pins decide."""

    cluster_only: bool = False
    """The recipe needs more than one host."""

    solo_only: bool = False
    """The recipe runs on one host only."""

    gx10: Gx10 = Gx10()
    """What this package adds."""
