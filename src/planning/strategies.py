"""How many GPUs each way of training needs, for any number of parameters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from src.planning.advice import COMFORTABLE
from src.planning.catalogue import Gpu
from src.planning.memory import GIB, device_memory
from src.planning.shape import ModelShape
from src.planning.workload import Adapters, Workload

_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Strategy:
    """One way of training.

    Attributes:
        name: For the table.
        workload: On one device; sharding applies where there are more.
    """

    name: str
    workload: Workload


@dataclass(frozen=True)
class GpuNeed:
    """GPUs of one kind for one strategy.

    Attributes:
        strategy: Its name.
        gpu: The kind.
        count: The fewest; None if 256 are not enough.
        gib: Peak on each of them.
    """

    strategy: str
    gpu: str
    count: int | None
    gib: float


def strategies(shape: ModelShape, *, rows: int, length: int) -> tuple[Strategy, ...]:
    """The usual ways, all with recomputation, from most to least memory."""
    base = Workload(shape=shape, rows=rows, length=length, recomputes=True)
    adapters = Adapters(16)
    return (
        Strategy("full, float32", replace(
            base, weight_bytes=4, gradient_bytes=4, optimizer_bytes=8, number_bytes=4)),
        Strategy("full, 16 bit, on each GPU", base),
        Strategy("full, 16 bit, sharding 2", replace(base, sharding=2)),
        Strategy("full, 16 bit, sharding 3", replace(base, sharding=3)),
        Strategy("LoRA r16", replace(base, adapters=adapters)),
        Strategy("LoRA r16, int8 weights", replace(base, adapters=adapters, bits="int8")),
        Strategy("LoRA r16, nf4 weights", replace(base, adapters=adapters, bits="nf4")),
    )  # fmt: skip


def gpus_needed(shape: ModelShape, gpus: Iterable[Gpu], *, rows: int, length: int) -> list[GpuNeed]:
    """The fewest GPUs of each kind on which each strategy fits with room to spare.

    Args:
        shape: The model.
        gpus: Kinds to look at.
        rows: Sentence pairs per pass and GPU.
        length: Tokens of the longest.
    """
    needs = []
    for strategy in strategies(shape, rows=rows, length=length):
        # Without sharding more GPUs do not make it smaller.
        counts = _COUNTS if strategy.workload.sharding else _COUNTS[:1]
        for gpu in gpus:
            count, gib = _fewest(strategy.workload, gpu, counts)
            needs.append(GpuNeed(strategy.name, gpu.name, count, gib))
    return needs


def _fewest(workload: Workload, gpu: Gpu, counts: Iterable[int]) -> tuple[int | None, float]:
    gib = 0.0
    for count in counts:
        gib = device_memory(replace(workload, devices=count)).total / GIB
        if gib <= COMFORTABLE * gpu.memory_gib:
            return count, gib
    return None, gib
