"""How much memory training takes on one device, part by part.

    peak = weights + gradients + optimizer + stored activations
           + the larger of (loss, one block's own needs) + teacher + buffers + runtime

State is exact arithmetic. Activations are counted by the formulas below and multiplied by a factor
for what frameworks keep beside them. The constants were fitted on half of the published runs in
benchmarks/data/published_runs.yaml and judged on the other half (benchmarks/plan_accuracy.py);
those for main memory, on measured peaks of this project's own runs on CPU
(benchmarks/plan_memory.py). PaddleNLP's layers on a GPU are counted from its code.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from src.planning.shape import ModelShape
from src.planning.workload import Workload

GIB = 2**30
CHUNK_ELEMENTS = 8 * 2**20
"""Logits that this project holds at a time: `_CHUNK_ELEMENTS` of src/training/losses.py."""
_SMALLEST_CHUNK = 32
_SCALE_BYTES = {"none": 2.0, "int8": 1.0}


@dataclass(frozen=True)
class MemoryConstants:
    """Fitted numbers; the defaults are those that `plan` uses.

    Attributes:
        low_bits: Bytes of a weight in 4 bits, with its scales.
        activations: Stored activations as a multiple of the counted ones, eager layers.
        compiled: The same for compiled layers, on top of it.
        fused: The same for fused layers, on top of it.
        adapter_inputs: Stored inputs of adapters as a multiple of the counted ones.
        block: What the backward pass of one recomputed block holds besides, in numbers of 2 bytes
            per 2 D + F.
        logits: Bytes per logit where all exist at once.
        low_bit_logits: The same with low-bit weights.
        part_logits: Bytes per logit and eighth where they are computed in eight parts.
        runtime_gib: Driver, libraries and what the allocator holds back.
        state: Memory of weights, gradients and optimizer as a multiple of their bytes.
        paddlenlp: Stored activations of PaddleNLP's layers as a multiple of the counted ones; its
            published runs with fused layers come to 0.9.
        paddlenlp_block: What their backward pass holds besides, in numbers per 2 D + F: counted,
            the gradients of all that a block has computed (4 F + 10 D).
        host: `paddlenlp` as measured in main memory.
        host_block: `paddlenlp_block` as measured there; the allocator gives back late.
        host_runtime_gib: Python, Paddle and PaddleNLP in main memory, before any model.
    """

    low_bits: float = 0.6046
    activations: float = 1.805
    compiled: float = 0.4042
    fused: float = 0.7756
    adapter_inputs: float = 0.6602
    block: float = 1.328
    logits: float = 12.48
    low_bit_logits: float = 8.404
    part_logits: float = 5.999
    runtime_gib: float = 2.416
    state: float = 1.035
    paddlenlp: float = 1.0
    paddlenlp_block: float = 5.0
    host: float = 0.54
    host_block: float = 14.0
    host_runtime_gib: float = 0.532


MEMORY = MemoryConstants()


@dataclass(frozen=True)
class MemoryParts:
    """Bytes on one device at the peak."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    loss: float
    teacher: float
    buffers: float
    runtime: float

    @property
    def total(self) -> float:
        """All of it."""
        return float(sum(asdict(self).values()))

    @property
    def state(self) -> float:
        """What does not depend on the batch."""
        return self.weights + self.gradients + self.optimizer + self.teacher


def device_memory(workload: Workload, constants: MemoryConstants = MEMORY) -> MemoryParts:
    """The peak on the fullest device."""
    weights, gradients, optimizer = _state(workload, constants)
    stored, block = _activations(workload, constants)
    loss = _loss(workload, constants)
    is_block_larger = block > loss
    return MemoryParts(
        weights=weights,
        gradients=gradients,
        optimizer=optimizer,
        activations=stored + (block if is_block_larger else 0.0),
        loss=0.0 if is_block_larger else loss,
        teacher=_teacher(workload),
        buffers=_buffers(workload, gradients),
        runtime=_runtime(workload, constants),
    )


def host_memory(workload: Workload, constants: MemoryConstants = MEMORY) -> float:
    """Peak of resident memory where the main memory is the device, in bytes.

    A checkpoint copies weights and optimizer before it is written; that moment may be the peak.
    """
    parts = device_memory(workload, constants)
    copied = parts.weights + parts.optimizer
    if workload.adapters is not None:
        each = workload.weight_bytes + workload.optimizer_bytes
        copied = each * workload.trained_parameters
    return max(parts.total, parts.state + parts.runtime + copied)


def _runtime(workload: Workload, constants: MemoryConstants) -> float:
    if not workload.counts_runtime:
        return 0.0
    size = constants.host_runtime_gib if workload.is_on_host else constants.runtime_gib
    return size * GIB


def _state(workload: Workload, constants: MemoryConstants) -> tuple[float, float, float]:
    """Weights, gradients and optimizer: exact, and the allocator's share on top."""
    shape, trained = workload.shape, workload.trained_parameters
    is_full = workload.adapters is None
    if is_full:
        weights = workload.weight_bytes * shape.parameters
    else:
        low = constants.low_bits if workload.bits == "nf4" else _low_bytes(workload)
        weights = low * shape.linear_parameters + workload.weight_bytes * shape.other_parameters
        weights += workload.weight_bytes * trained
    gradients = workload.gradient_bytes * trained
    optimizer = workload.optimizer_bytes * trained
    split = workload.replicas
    parts = (
        weights / (split if workload.sharding >= 3 and is_full else 1),  # noqa: PLR2004
        gradients / (split if workload.sharding >= 2 else 1),  # noqa: PLR2004
        optimizer / (split if workload.sharding >= 1 else 1),
    )
    factor = constants.state / workload.tensor_parallel
    return parts[0] * factor, parts[1] * factor, parts[2] * factor


def _low_bytes(workload: Workload) -> float:
    return workload.weight_bytes if workload.bits == "none" else _SCALE_BYTES[workload.bits]


def _activations(workload: Workload, constants: MemoryConstants) -> tuple[float, float]:
    """What is stored from the forward to the backward pass, and what one block needs beside it."""
    shape, tokens = workload.shape, workload.tokens
    block = _block_bytes(workload, constants) * tokens
    inner = (2 * shape.width + shape.feed_forward) * workload.number_bytes * tokens
    is_own = workload.kernels == "paddlenlp"
    own = constants.host_block if workload.is_on_host else constants.paddlenlp_block
    working = inner * (own if is_own else constants.block)
    if not workload.recomputes:
        stored = 0.0 if workload.offloads else shape.layers * block
        return stored, working if is_own else 0.0
    boundaries = 0.0 if workload.offloads else shape.layers * shape.width * tokens
    return boundaries * workload.number_bytes, block + working


def _block_bytes(workload: Workload, constants: MemoryConstants) -> float:
    """Bytes per token that one block stores for its backward pass."""
    shape, each = workload.shape, workload.number_bytes
    width, inner, keys = shape.width, shape.feed_forward, shape.key_value_width
    if workload.kernels == "paddlenlp":
        return _paddlenlp_block(workload, constants)
    if workload.tensor_parallel > 1:
        shared = each * (2 * width + 2 * keys) + 4 * each * inner
        counted = 4 * each * width + shared / workload.tensor_parallel
    else:
        counted = each * (6 * width + 2 * keys) + 4 * each * inner
    if workload.adapters is not None:
        counted += _adapter_bytes(workload, constants)
    factor = {"eager": 1.0, "fused": constants.fused, "compiled": constants.compiled}
    return counted * constants.activations * factor[workload.kernels]


def _adapter_bytes(workload: Workload, constants: MemoryConstants) -> float:
    """Adapters store their inputs and dropout masks; frozen layers need not store theirs."""
    adapters, shape = workload.adapters, workload.shape
    if adapters is None:
        return 0.0
    stored = (workload.number_bytes + 1) * shape.adapter_inputs(adapters.targets)
    spared = 0.0
    if "down_proj" not in adapters.targets:
        spared = workload.number_bytes * (shape.feed_forward + 2 * shape.width)
    return constants.adapter_inputs * stored - spared


def _paddlenlp_block(workload: Workload, constants: MemoryConstants) -> float:
    """PaddleNLP's Qwen2 block in eager mode, counted from its code, in bytes per token.

    Norms keep input and output and compute in float32; queries, keys and values exist before and
    after rotation, repeated, transposed and scaled; without flash attention the softmax of the
    scores is kept in float32 and, in low precision, once more in that.
    """
    shape, each = workload.shape, workload.number_bytes
    width, inner, keys = shape.width, shape.feed_forward, shape.key_value_width
    counted = each * (18 * width + 4 * keys + 4 * inner)
    if each < 4:  # noqa: PLR2004  # norms upcast to float32
        counted += 4 * 2 * width
    if workload.adapters is not None:
        counted += (each + 1) * shape.adapter_inputs(workload.adapters.targets)
    scores = 0.0
    if not workload.flash_attention:
        scores = shape.heads * workload.length * score_bytes(each)
    factor = constants.host if workload.is_on_host else constants.paddlenlp
    return (counted * factor + scores) / workload.tensor_parallel


def score_bytes(number_bytes: float) -> float:
    """Bytes kept per attention score: its softmax in float32, and in low precision once more."""
    float32 = 4.0
    return float32 if number_bytes >= float32 else float32 + number_bytes


def _loss(workload: Workload, constants: MemoryConstants) -> float:
    """Logits, their gradients and what the loss needs besides."""
    shape = workload.shape
    vocabulary = shape.vocabulary / workload.tensor_parallel
    if workload.loss == "whole":
        is_low = workload.bits != "none"
        per_logit = constants.low_bit_logits if is_low else constants.logits
        return workload.tokens * vocabulary * per_logit
    if workload.loss == "eighths":
        return workload.tokens * vocabulary * constants.part_logits / 4
    return _chunked_loss(workload)


def _chunked_loss(workload: Workload) -> float:
    """This project's loss: target positions gathered, projected a few at a time.

    Float32 arrays over a chunk: logits, shifted, exponentials, gradient and a product of two, with
    a teacher four more. Beside them hidden states and gradients of the positions, and the gradient
    of the projection three times over where it is trained (sum, part, scaled).
    """
    shape, each = workload.shape, workload.number_bytes
    positions = workload.tokens * workload.target_share
    chunk = min(positions, max(_SMALLEST_CHUNK, CHUNK_ELEMENTS // shape.vocabulary))
    arrays = 5 if workload.teacher is None else 9
    bytes_ = chunk * shape.vocabulary * 4 * arrays
    bytes_ += 4 * positions * shape.width * each
    if workload.adapters is None:
        bytes_ += 2 * shape.projection_parameters * workload.weight_bytes
    if workload.teacher is not None:
        bytes_ += positions * workload.teacher.shape.width * each
    return bytes_


def _teacher(workload: Workload) -> float:
    """A frozen model: its weights, and one block's activations at a time."""
    if workload.teacher is None:
        return 0.0
    shape: ModelShape = workload.teacher.shape
    each = workload.number_bytes
    scores = shape.heads * workload.length * (2 * each + 4)
    block = workload.tokens * (each * (8 * shape.width + 3 * shape.feed_forward) + scores)
    return shape.parameters * workload.teacher.weight_bytes + block


def _buffers(workload: Workload, gradients: float) -> float:
    """Joined gradients and their parts while ranks add them up."""
    if workload.kernels != "paddlenlp" or workload.devices == 1:
        return 0.0
    return gradients * (2 if workload.sharding == 0 else 1)
