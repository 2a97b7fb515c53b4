"""One torch baseline of benchmarks/distillation_speed.py, run in its environment; prints JSON.

    python benchmarks/distillation_torch/arm.py ARM BATCH.npz VOCABULARY STEPS

Each library computes its own loss as its own recipe calls it, on Hugging Face's Qwen2 of the same
sizes; what they lack of ours (temperature with its square, target positions only) they do not get.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

SHAPES = {
    32_000: {"teacher": (512, 8), "student": (256, 4)},
    151_936: {"teacher": (256, 4), "student": (128, 2)},
}
ALPHA = 0.7
Step = Callable[[], Any]


def build(width: int, layers: int, vocabulary: int, seed: int) -> Any:
    torch.manual_seed(seed)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=vocabulary,
            hidden_size=width,
            num_hidden_layers=layers,
            intermediate_size=4 * width,
            num_attention_heads=width // 64,
            num_key_value_heads=max(1, width // 128),
            tie_word_embeddings=True,
        )
    )


def load_batch(path: str) -> tuple[Any, Any]:
    arrays = np.load(path)
    ids = torch.from_numpy(arrays["padded_input_ids"])
    labels = torch.full(ids.shape, -100, dtype=torch.int64)  # [B, T], shifted already
    positions = torch.from_numpy(arrays["padded_target_positions"])
    labels.view(-1)[positions] = torch.from_numpy(arrays["padded_labels"])
    return ids, labels


def torchtune_step(student: Any, teacher: Any, ids: Any, labels: Any) -> Step:
    from torchtune.modules.loss import CEWithChunkedOutputLoss, ForwardKLWithChunkedOutputLoss

    divergence, cross_entropy = ForwardKLWithChunkedOutputLoss(), CEWithChunkedOutputLoss()

    def pieces(logits: Any) -> list[Any]:
        return list(logits.chunk(divergence.num_output_chunks, dim=1))

    def step() -> Any:
        with torch.no_grad():
            theirs = pieces(teacher(ids).logits)
        own = pieces(student(ids).logits)
        return (1 - ALPHA) * cross_entropy(own, labels) + ALPHA * divergence(own, theirs, labels)

    return step


def trl_step(student: Any, teacher: Any, ids: Any, labels: Any) -> Step:
    from trl.experimental.gkd import GKDTrainer

    def step() -> Any:
        with torch.no_grad():
            theirs = teacher(ids).logits
        own = student(ids).logits
        return GKDTrainer.generalized_jsd_loss(own, theirs, labels=labels, beta=0.0)

    return step


def liger_step(student: Any, teacher: Any, ids: Any, labels: Any) -> Step:
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

    loss = LigerFusedLinearJSDLoss(beta=0.5, compiled=False)

    def step() -> Any:
        with torch.no_grad():
            theirs = teacher.model(ids).last_hidden_state
        own = student.model(ids).last_hidden_state
        return loss(own, student.lm_head.weight, theirs, teacher.lm_head.weight, labels)

    return step


def memory(name: str) -> int:
    """VmRSS (resident now) or VmHWM (its peak), in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {name}")


def main(arm: str, batch_file: str, vocabulary: str, steps: str) -> None:
    torch.set_num_threads(1)
    sizes = SHAPES[int(vocabulary)]
    student = build(*sizes["student"], int(vocabulary), 1).train()
    teacher = build(*sizes["teacher"], int(vocabulary), 2).eval()
    ids, labels = load_batch(batch_file)
    make = {"torchtune": torchtune_step, "trl": trl_step, "liger": liger_step}[arm]
    forward = make(student, teacher, ids, labels)
    Path("/proc/self/clear_refs").write_text("5")
    loaded = memory("VmRSS")
    seconds, value = [], 0.0
    for number in range(int(steps) + 1):
        began = time.process_time()
        loss = forward()
        loss = loss[0] if isinstance(loss, tuple) else loss
        loss.backward()
        student.zero_grad(set_to_none=True)
        value = float(loss.detach())
        if number:  # the first step is not counted
            seconds.append(time.process_time() - began)
    print(
        json.dumps({"cpu_seconds": seconds, "extra_bytes": memory("VmHWM") - loaded, "loss": value})
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
