"""What happened since the last log line, and the record of it in metrics.jsonl.

Keys of a record: `step`, `epoch`, `tokens_seen`, `loss` and `cross_entropy` (nats per target token,
mean over the window), `divergence` (null without a teacher), `lr`, `grad_norm` (of the last step,
before clipping), `grad_norm_max` (of the window), `tokens_per_second` (real tokens),
`samples_per_second` (pairs), `data_seconds` (waiting for batches), `compute_seconds` (the rest),
`padding_fraction`, `memory_bytes` (peak), `imbalance` (slowest rank's own passes over the mean;
1 with one rank), `skipped_steps` and `rollbacks` (of the run), `noise_scale` (pairs; only with
health.noise_scale), `total_steps`, `seconds_left`, and with a GPU the keys of `src.monitoring.gpu`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import paddle

from src.host_memory import peak_memory_bytes
from src.training.run import Run, StepBatch
from src.training.step import Gradients


@dataclass
class Window:
    """Sums over the good steps since the last log line; seconds over all steps."""

    started: float = field(default_factory=time.perf_counter)
    steps: int = 0
    loss_sum: float = 0.0
    cross_entropy_sum: float = 0.0
    divergence_sum: float = 0.0
    target_tokens: int = 0
    real_tokens: int = 0
    padded_tokens: int = 0
    pairs: int = 0
    data_seconds: float = 0.0
    own_seconds: float = 0.0
    grad_norm: float = 0.0
    grad_norm_max: float = 0.0

    def add(self, batch: StepBatch, gradients: Gradients) -> None:
        """Takes in a good step."""
        self.steps += 1
        self.loss_sum += gradients.loss_sum
        self.cross_entropy_sum += gradients.cross_entropy_sum
        self.divergence_sum += gradients.divergence_sum
        self.target_tokens += batch["target_tokens"]
        self.real_tokens += batch["real_tokens"]
        self.padded_tokens += batch["padded_tokens"]
        self.pairs += batch["pairs"]
        self.grad_norm = gradients.norm
        self.grad_norm_max = max(self.grad_norm_max, gradients.norm)


def window_record(run: Run, window: Window) -> dict[str, Any]:
    """The record of a window with at least one good step; every rank must call it."""
    state = run.state
    seconds = time.perf_counter() - window.started
    has_teacher = window.divergence_sum != 0.0
    record = {
        "step": state.step,
        "epoch": state.epoch,
        "tokens_seen": state.tokens_seen,
        "loss": window.loss_sum / window.target_tokens,
        "cross_entropy": window.cross_entropy_sum / window.target_tokens,
        "divergence": window.divergence_sum / window.target_tokens if has_teacher else None,
        "lr": run.learning_rate(state.step - 1) * state.health.learning_rate_factor,
        "grad_norm": window.grad_norm,
        "grad_norm_max": window.grad_norm_max,
        "tokens_per_second": window.real_tokens / seconds,
        "samples_per_second": window.pairs / seconds,
        "data_seconds": window.data_seconds,
        "compute_seconds": seconds - window.data_seconds,
        "padding_fraction": 1 - window.real_tokens / window.padded_tokens,
        "memory_bytes": _memory_bytes(),
        "imbalance": imbalance(run.ranks.collect(window.own_seconds)),
        "skipped_steps": state.health.skipped,
        "rollbacks": len(state.health.rolled_back_to),
        "total_steps": run.total_steps,
        "seconds_left": (run.total_steps - state.step) * state.seconds / state.step,
        **run.gpu(),
    }
    if run.config.health.noise_scale:
        record["noise_scale"] = state.noise.pairs
    return record


def imbalance(seconds: list[float]) -> float:
    """The slowest rank's time over the mean: how much all wait for it; 1 is balanced."""
    mean = sum(seconds) / len(seconds)
    return max(seconds) / mean if mean > 0 else 1.0


def _memory_bytes() -> int:
    """Peak memory: of the GPU where there is one, else resident memory of this process."""
    if paddle.device.is_compiled_with_cuda():
        return int(paddle.device.cuda.max_memory_allocated())
    return peak_memory_bytes()
