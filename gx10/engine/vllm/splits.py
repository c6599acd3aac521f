"""How the ranks may share a model: vLLM splits attention heads evenly among tensor ranks, and layers among stages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MUST_DIVIDE = (
    "--tensor-parallel-size must divide the model's attention heads (num_attention_heads in its config.json), and "
    "--pipeline-parallel-size may not exceed its layers (num_hidden_layers)"
)


@dataclass(frozen=True)
class Shape:
    """What of a model limits how it can be split."""

    heads: int
    layers: int

    @classmethod
    def read(cls, told: dict[str, Any] | None) -> Shape | None:
        """The shape as a host tells it; None where it does not know."""
        return cls(told["heads"], told["layers"]) if told else None

    def splits(self, tensor: int, pipeline: int) -> bool:
        """Whether so many tensor ranks and stages can share it."""
        return self.heads % tensor == 0 and pipeline <= self.layers


def products(gpus: int) -> tuple[tuple[int, int], ...]:
    """Tensor and pipeline sizes whose product is a number of GPUs, the most tensor ranks first."""
    return tuple((tensor, gpus // tensor) for tensor in range(gpus, 0, -1) if gpus % tensor == 0)


def in_words(sizes: tuple[tuple[int, int], ...]) -> str:
    """Sizes as a sentence has them."""
    return " or ".join(f"{tensor} x {pipeline}" for tensor, pipeline in sizes)


def split_faults(shape: Shape, tensor: int, pipeline: int) -> Iterator[str]:
    """Why a model of this shape cannot be shared like that, with what can, as a sentence that follows a host's name."""
    if shape.splits(tensor, pipeline):
        return
    gpus = tensor * pipeline
    fit = tuple(sizes for sizes in products(gpus) if shape.splits(*sizes))
    counts = [count for count in range(1, gpus) if any(shape.splits(*sizes) for sizes in products(count))]
    wanted = f"Write tensor x pipeline as {in_words(fit)}."
    if not fit:
        possible = ", ".join(map(str, counts))
        wanted = f"No product of {gpus} does; of {possible} GPUs one does: describe so many, or serve another model."
    yield (
        f"has weights with {shape.heads} attention heads and {shape.layers} layers, which cannot be shared by tensor "
        f"{tensor} x pipeline {pipeline} ranks: {MUST_DIVIDE}. {wanted}"
    )
