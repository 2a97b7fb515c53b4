"""One pass of training in numbers: what memory and time are computed from.

A workload is made from the configuration (`src.planning.sections`) or from the description of
somebody's published run (`benchmarks/plan_accuracy.py`); the formulas do not know which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from src.planning.shape import ModelShape

Kernels = Literal["eager", "fused", "compiled", "paddlenlp"]
LossForm = Literal["whole", "eighths", "chunks"]
Bits = Literal["none", "int8", "nf4"]

ALL_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ATTENTION_INPUT_LAYERS = ("q_proj", "v_proj")


@dataclass(frozen=True)
class Adapters:
    """Low-rank adapters on frozen weights.

    Attributes:
        rank: Of the matrices.
        targets: Names of the adapted layers of a block.
    """

    rank: int
    targets: tuple[str, ...] = ALL_LAYERS


@dataclass(frozen=True)
class Teacher:
    """The frozen model that runs beside a student.

    Attributes:
        shape: Its sizes.
        weight_bytes: Bytes per weight.
    """

    shape: ModelShape
    weight_bytes: float


@dataclass(frozen=True)
class Workload:
    """What one device computes between two updates, and what it holds meanwhile.

    Attributes:
        shape: The model.
        rows: Sentence pairs in one pass of one device.
        length: Tokens of each, padding included: the longest for memory, the mean for time.
        passes: Passes of one device per update.
        devices: Devices that share the work.
        tensor_parallel: Devices that share each layer.
        sharding: Stage: 1 shards the optimizer over the devices, 2 also the gradients, 3 also the
            weights; 0 none.
        weight_bytes: Bytes of a weight that is trained, or of a frozen one without low bits.
        gradient_bytes: Bytes of the gradient of a trained weight.
        optimizer_bytes: Bytes of master copy, moments and moving average of a trained weight.
        number_bytes: Bytes of an activation.
        bits: Low bits of the frozen weights.
        adapters: What is trained instead of all weights; None trains all.
        recomputes: Whether activations are computed again in the backward pass.
        loss: whole: all logits at once. eighths: in eight parts. chunks: as this project does, a
            few positions at a time.
        kernels: How the layers are computed: eager, fused or compiled ones of other frameworks, or
            PaddleNLP's as this project runs them.
        flash_attention: Whether attention scores are never stored.
        offloads: Whether stored activations are moved to the host.
        counts_runtime: Whether memory includes what driver and libraries take.
        is_on_host: Whether it runs on the CPU, in main memory.
        teacher: A frozen model that runs beside it.
        target_share: Share of the tokens that carry loss.
    """

    shape: ModelShape
    rows: int
    length: float
    passes: int = 1
    devices: int = 1
    tensor_parallel: int = 1
    sharding: int = 0
    weight_bytes: float = 2.0
    gradient_bytes: float = 2.0
    optimizer_bytes: float = 12.0
    number_bytes: float = 2.0
    bits: Bits = "none"
    adapters: Adapters | None = None
    recomputes: bool = False
    loss: LossForm = "chunks"
    kernels: Kernels = "paddlenlp"
    flash_attention: bool = False
    offloads: bool = False
    counts_runtime: bool = True
    is_on_host: bool = False
    teacher: Teacher | None = None
    target_share: float = 1.0

    @property
    def tokens(self) -> float:
        """Tokens of one pass of one device."""
        return self.rows * self.length

    @property
    def replicas(self) -> int:
        """Devices over which state can be sharded."""
        return max(1, self.devices // self.tensor_parallel)

    @property
    def trained_parameters(self) -> int:
        """Weights that are trained."""
        if self.adapters is None:
            return self.shape.parameters
        return self.shape.adapter_parameters(self.adapters.rank, self.adapters.targets)
