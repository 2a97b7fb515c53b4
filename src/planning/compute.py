"""How long one pass takes on one device, as a roofline.

    pass = ( (multiplications / rate + traffic / bandwidth)^3 + launches^3 )^(1/3)
           + low bits + update + exchange

Multiplications are the 6 N per token and trained weight of Kaplan et al. (2020) plus attention's
share, which grows with the length: forward 2 N, backward 2 N for the inputs and 2 N for the weights
(none for frozen ones), 2 N more with recomputation. Everything between the multiplications moves
activations through memory, and each layer costs a few launches however small the batch is: short
batches are slow, faster GPUs reach a smaller share of their peak. Constants and their judgement:
benchmarks/plan_accuracy.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from src.planning.catalogue import Gpu
from src.planning.memory import score_bytes
from src.planning.workload import Workload

_LOW_BIT_TRAFFIC = {"none": 0.0, "int8": 5.0, "nf4": 4.5}
"""Bytes read and written per weight and pass to unpack it: low bits in, 2 bytes out and in."""
_UPDATE_BYTES = 20.0
"""Bytes that an update reads and writes per trained weight and 16 bytes of state."""
_SHARPNESS = 3.0
_FULL_FLOPS, _FROZEN_FLOPS, _FORWARD_FLOPS = 6.0, 4.0, 2.0


@dataclass(frozen=True)
class SpeedConstants:
    """Fitted numbers; the defaults are those that `plan` uses.

    Attributes:
        rate: Share of the peak that large multiplications reach.
        traffic: Memory traffic as a multiple of the stored activations of a forward pass.
        compiled: Traffic and launches of compiled layers, relative to eager ones.
        fused: The same for fused layers.
        adapter_traffic: Traffic with adapters, relative to without.
        launch_milliseconds: Of one layer in one pass over it.
        adapter_launches: Launches with adapters, relative to without.
        low_bits: Share of the bandwidth that unpacking low bits reaches.
        update: Time of an update as a multiple of its traffic.
        exchange: Time of exchanging gradients as a multiple of their traffic.
        tensor_exchange: The same for the activations that tensor parallelism exchanges.
    """

    rate: float = 0.8865
    traffic: float = 7.28
    compiled: float = 0.3495
    fused: float = 0.5745
    adapter_traffic: float = 2.617
    launch_milliseconds: float = 2.616
    adapter_launches: float = 0.6309
    low_bits: float = 0.1854
    update: float = 5.392
    exchange: float = 0.7485
    tensor_exchange: float = 7.369


SPEED = SpeedConstants()


@dataclass(frozen=True)
class PassTime:
    """Seconds of one pass of one device, its share of the update included.

    Attributes:
        compute: Multiplications at the reached rate.
        traffic: Memory traffic between them.
        launches: Starting kernels; counts only where it is the longest.
        low_bits: Unpacking weights.
        update: The optimizer's share.
        exchange: With the other devices.
        teacher: The frozen model's forward pass.
        operations: Floating-point operations, recomputation included.
        useful_operations: Without recomputation and teacher.
    """

    compute: float
    traffic: float
    launches: float
    low_bits: float
    update: float
    exchange: float
    teacher: float
    operations: float
    useful_operations: float

    @property
    def total(self) -> float:
        """All of it, seconds."""
        busy = self.compute + self.traffic
        smooth = float((busy**_SHARPNESS + self.launches**_SHARPNESS) ** (1 / _SHARPNESS))
        return smooth + self.low_bits + self.update + self.exchange + self.teacher


def pass_time(
    workload: Workload, gpu: Gpu, constants: SpeedConstants = SPEED, *, precision: str = "bfloat16"
) -> PassTime:
    """Time of one pass on this GPU.

    Args:
        workload: `rows` x the mean `length` are its tokens.
        gpu: What it runs on.
        constants: Fitted numbers.
        precision: Of the multiplications; float16 where the GPU has no bfloat16.
    """
    rate = peak_rate(gpu, precision) * gpu.sustained * constants.rate
    bandwidth = gpu.bandwidth * 1e9
    operations, useful = pass_operations(workload)
    sweeps = _flops_per_weight(workload) / 2
    factor = {"fused": constants.fused, "compiled": constants.compiled}.get(workload.kernels, 1.0)
    has_adapters = workload.adapters is not None
    traffic = _block_traffic(workload) * workload.shape.layers * workload.tokens * sweeps
    traffic *= constants.traffic * factor * (constants.adapter_traffic if has_adapters else 1.0)
    launches = workload.shape.layers * sweeps * constants.launch_milliseconds / 1e3 * factor
    unpacked = _LOW_BIT_TRAFFIC[workload.bits] * workload.shape.linear_parameters * sweeps
    split = workload.tensor_parallel
    return PassTime(
        compute=operations / split / rate,
        traffic=traffic / split / bandwidth,
        launches=launches * (constants.adapter_launches if has_adapters else 1.0),
        low_bits=unpacked / (bandwidth * constants.low_bits),
        update=_update_bytes(workload) * constants.update / bandwidth,
        exchange=_exchange_seconds(workload, gpu, constants, sweeps),
        teacher=_teacher_seconds(workload, gpu, rate, constants),
        operations=operations,
        useful_operations=useful,
    )


def tokens_per_second(workload: Workload, time: PassTime) -> float:
    """Tokens per second and device, padding included."""
    return workload.tokens / time.total / workload.tensor_parallel


def utilisation(workload: Workload, time: PassTime, gpu: Gpu, precision: str) -> float:
    """Model FLOPs utilisation: useful operations as a share of the peak (Chowdhery et al. 2022)."""
    peak = peak_rate(gpu, precision) * workload.tensor_parallel
    return time.useful_operations / (time.total * peak)


def peak_rate(gpu: Gpu, precision: str) -> float:
    """Operations a second; float16's where bfloat16 is missing."""
    rates = gpu.tflops
    return rates.get(precision, rates["float16"]) * 1e12


def pass_operations(workload: Workload) -> tuple[float, float]:
    """Operations of one pass on all its tokens, and of them those that are no recomputation.

    The output projection is counted for target positions only where this project's loss is used.
    """
    shape, tokens = workload.shape, workload.tokens
    counted = workload.target_share if workload.loss == "chunks" else 1.0
    weights = shape.linear_parameters + counted * shape.projection_parameters
    scores = 4 * shape.layers * shape.width * workload.length / 2  # causal: half of the square
    per_weight = _flops_per_weight(workload)
    again = _FORWARD_FLOPS if workload.recomputes else 0.0
    # Attention has no weights: backward costs twice forward, frozen or not.
    attention = scores * 3
    adapters = 0.0 if workload.adapters is None else _FULL_FLOPS * workload.trained_parameters
    useful = tokens * ((per_weight - again) * weights + attention + adapters)
    extra = tokens * (again * weights + scores) if workload.recomputes else 0.0
    return useful + extra, useful


def _flops_per_weight(workload: Workload) -> float:
    base = _FULL_FLOPS if workload.adapters is None else _FROZEN_FLOPS
    return base + (_FORWARD_FLOPS if workload.recomputes else 0.0)


def _block_traffic(workload: Workload) -> float:
    """Activations of one block in bytes per token."""
    shape, each = workload.shape, workload.number_bytes
    counted = each * (6 * shape.width + 2 * shape.key_value_width) + 4 * each * shape.feed_forward
    if not workload.flash_attention and workload.kernels == "paddlenlp":
        counted += shape.heads * workload.length * score_bytes(each)
    return counted


def _update_bytes(workload: Workload) -> float:
    """Traffic of the update as far as it falls to one pass."""
    if workload.adapters is not None:
        return 0.0
    mine = workload.shape.parameters / workload.tensor_parallel
    return mine * _UPDATE_BYTES / workload.passes


def _exchange_seconds(
    workload: Workload, gpu: Gpu, constants: SpeedConstants, sweeps: float
) -> float:
    """Gradients among replicas, and activations within a tensor-parallel group."""
    link = gpu.link * 1e9
    seconds = 0.0
    if workload.replicas > 1:
        # A ring sends everything about twice; stage 3 also gathers weights in every pass.
        moved = workload.trained_parameters * workload.gradient_bytes * 3
        often = 1 if workload.sharding >= 3 else workload.passes  # noqa: PLR2004
        seconds += constants.exchange * moved / workload.tensor_parallel / link / often
    if workload.tensor_parallel > 1:
        shape = workload.shape
        moved = 2 * sweeps * shape.layers * workload.tokens * shape.width * workload.number_bytes
        seconds += constants.tensor_exchange * moved / link
    return seconds


def _teacher_seconds(workload: Workload, gpu: Gpu, rate: float, constants: SpeedConstants) -> float:
    """A forward pass of the teacher, its projection at the target positions."""
    if workload.teacher is None:
        return 0.0
    shape = workload.teacher.shape
    weights = shape.linear_parameters + workload.target_share * shape.projection_parameters
    scores = 4 * shape.layers * shape.width * workload.length / 2
    operations = workload.tokens * (_FORWARD_FLOPS * weights + scores)
    each = workload.number_bytes
    moved = each * (6 * shape.width + 2 * shape.key_value_width + 4 * shape.feed_forward)
    traffic = constants.traffic * moved * shape.layers * workload.tokens / (gpu.bandwidth * 1e9)
    launches = shape.layers * constants.launch_milliseconds / 1e3
    return max(operations / rate + traffic, launches)
