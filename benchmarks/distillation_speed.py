"""How fast is a distillation step, and what memory does it take over the loaded models?

    python -m benchmarks.distillation_speed [--vocabulary 32000] [--steps 3] [--torch PYTHON]

Every arm runs in a process of its own on one thread, on the same random batch of 16 sequences of
about 60 tokens, 45 % of them targets; vocabulary 32,000 with a teacher of width 512 and 8 layers
and a student of 256 and 4, or 151,936 with half of these widths and layers and 8 sequences. A step
is the forward passes and the backward pass. Reported are tokens of the batch (prompt, source and
target, without padding) per CPU second, the median over steps, and the peak of resident memory
over what the loaded models take.

Arms: `plain` (cross-entropy on gathered targets, the ceiling), `online`, `cached` (sampled_tail,
k = 32), both again as `…-packed` (the same sequences, several in a row as `packing: true` computes
them; the other arms pad each to the longest), and the baselines `naive` (all positions, Paddle's
operators on `[B, T, V]`), and, with --torch, `torchtune` (chunked forward KL), `trl` (its GKD loss,
forward KL) and `liger` (fused linear JSD, as TRL calls it), in the environment that
benchmarks/distillation_torch/install.sh builds (--torch runs/benchmarks/torch/bin/python). All arms
with both vocabularies take about twelve minutes on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.harness import store_result, summarise
from src.tokens.collate import Sequences, lay_out
from src.tokens.packing import pack_rows

OWN = ("plain", "online", "cached", "online-packed", "cached-packed", "naive")
FOREIGN = ("torchtune", "trl", "liger")
TEMPERATURE, ALPHA, TOP_K = 2.0, 0.7, 32
_TARGET_SHARE = 0.45
SHAPES: dict[int, dict[str, Any]] = {
    32_000: {"sequences": 16, "teacher": (512, 8), "student": (256, 4)},
    151_936: {"sequences": 8, "teacher": (256, 4), "student": (128, 2)},
}


def make_batch(path: Path, vocabulary: int) -> int:
    """Writes the batch that all arms share, padded and packed; returns its tokens."""
    random = np.random.default_rng(0)
    count = SHAPES[vocabulary]["sequences"]
    lengths = np.clip(random.lognormal(np.log(52), 0.5, count).astype(int), 12, 128)
    texts = [random.integers(1, vocabulary, length) for length in lengths]
    rows = pack_rows(lengths, width=2 * int(lengths.max()), ranks=1, batch_size=count)
    batches = {
        "padded": laid_out(texts),
        "packed": laid_out([texts[number] for number in rows.order], rows.counts),
    }
    arrays = {f"{form}_{name}": batches[form][name] for form in batches for name in batches[form]}
    np.savez(path, **arrays)
    return int(lengths.sum())


def laid_out(texts: list[Any], counts: Any = None) -> dict[str, Any]:
    """A micro-batch of texts whose ends are targets, `counts` of them in each row or one."""
    lengths = np.array([len(text) for text in texts])
    ends = np.cumsum(lengths)
    target_begins = ends - (lengths * _TARGET_SHARE).astype(int)
    sequences = Sequences(
        np.concatenate(texts), ends - lengths, lengths, target_begins, np.zeros_like(lengths)
    )
    return lay_out(sequences, slice(None), counts, pad_id=0)


def measure_steps(step: Callable[[], float], *, steps: int, loaded_bytes: int) -> dict[str, Any]:
    """Runs a step several times; the first is not counted."""
    step()
    seconds = []
    loss = float("nan")
    for _ in range(steps):
        began = time.process_time()
        loss = step()
        seconds.append(time.process_time() - began)
    peak = psutil.Process().memory_info().rss
    status = Path("/proc/self/status").read_text(encoding="ascii")
    for line in status.splitlines():
        if line.startswith("VmHWM"):
            peak = int(line.split()[1]) * 1024
    return {"cpu_seconds": seconds, "extra_bytes": peak - loaded_bytes, "loss": loss}


def reset_peak() -> int:
    """Forgets the peak of resident memory so far; returns what is resident now."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return int(psutil.Process().memory_info().rss)


def run_arm(arm: str, batch_file: Path, vocabulary: int, steps: int) -> dict[str, Any]:
    """One of our arms, in this process."""
    import paddle

    from src.distillation.online import distillation_loss
    from src.distillation.stored import cached_loss
    from src.models.factory import Model, build_model
    from src.schema import ArchitectureConfig, StudentConfig
    from src.training.objective import reference_loss

    def build(name: str, seed: int) -> Model:
        width, layers = SHAPES[vocabulary][name]
        sizes = ArchitectureConfig(
            hidden_size=width,
            num_hidden_layers=layers,
            intermediate_size=4 * width,
            num_attention_heads=width // 64,
            num_key_value_heads=max(1, width // 128),
        )
        return build_model(sizes, vocab_size=vocabulary, seed=seed)

    arrays = np.load(batch_file)
    form = "packed_" if arm.endswith("-packed") else "padded_"
    arm = arm.removesuffix("-packed")
    batch = {
        name.removeprefix(form): paddle.to_tensor(arrays[name])
        for name in arrays.files
        if name.startswith(form)
    }
    section = StudentConfig(
        kd_mode="none", distillation_alpha=ALPHA, temperature=TEMPERATURE, kd_top_k=TOP_K
    )
    student = build("student", 1)
    student.train()
    if arm == "plain":
        loss = reference_loss(student)
    elif arm == "cached":
        layout, records = random_records(vocabulary, len(arrays["padded_labels"]))
        batch["records"] = paddle.to_tensor(records)
        loss = cached_loss(student, layout, section)
    else:
        teacher = build("teacher", 2)
        teacher.eval()
        if arm == "online":
            loss = distillation_loss(student, teacher, section, vocab_size=vocabulary)
    loaded = reset_peak()

    def step() -> float:
        total = naive_loss(student, teacher, batch) if arm == "naive" else loss(batch).total
        total.backward()
        for parameter in student.parameters():
            parameter.clear_grad()
        return float(total.numpy()) / len(arrays["padded_labels"])

    return measure_steps(step, steps=steps, loaded_bytes=loaded)


def random_records(vocabulary: int, count: int) -> tuple[Any, Any]:
    """Records of soft labels as a teacher of random weights would give them."""
    import paddle

    from src.distillation.soft_labels.layout import RecordLayout
    from src.distillation.soft_labels.picture import take_picture

    layout = RecordLayout("sampled_tail", TOP_K, vocabulary)
    random = np.random.default_rng(2)
    parts = []
    for begin in range(0, count, 32):
        rows = min(32, count - begin)
        logits = random.normal(size=(rows, vocabulary)).astype(np.float32)
        starts = random.random(rows, dtype=np.float32)
        parts.append(layout.encode(take_picture(paddle.to_tensor(logits), layout, starts)))
    return layout, np.concatenate(parts)


def naive_loss(student: Any, teacher: Any, batch: Any) -> Any:
    """The textbook: logits of every position, KL and cross-entropy on all of them, then a mask."""
    import paddle

    from src.models.factory import hidden_states, logits

    with paddle.no_grad():
        theirs = logits(teacher, hidden_states(teacher, batch["input_ids"])) / TEMPERATURE
        target = paddle.nn.functional.softmax(theirs, axis=-1)
    scores = logits(student, hidden_states(student, batch["input_ids"]))  # [B, T, V]
    soft = scores / TEMPERATURE
    # Paddle's log_softmax takes time quadratic in the vocabulary on a CPU.
    log_q = soft - paddle.logsumexp(soft, axis=-1, keepdim=True)
    log_p = theirs - paddle.logsumexp(theirs, axis=-1, keepdim=True)
    divergence = (target * (log_p - log_q)).sum(axis=-1).reshape([-1])  # [B * T]
    positions = batch["target_positions"]
    flat = scores.reshape([-1, scores.shape[-1]])
    own = paddle.gather(flat, positions)
    picked = paddle.take_along_axis(own, batch["labels"].unsqueeze(-1), axis=1)
    cross = (paddle.logsumexp(own, axis=-1) - picked.squeeze(-1)).sum()
    return (1 - ALPHA) * cross + ALPHA * TEMPERATURE**2 * paddle.gather(divergence, positions).sum()


def start_arm(
    arm: str, options: argparse.Namespace, batch_file: Path, vocabulary: int
) -> dict[str, Any]:
    """An arm in a fresh process with one thread."""
    common = [str(batch_file), str(vocabulary), str(options.steps)]
    if arm in FOREIGN:
        script = str(Path(__file__).parent / "distillation_torch" / "arm.py")
        command = [str(options.torch), script, arm, *common]
    else:
        command = [sys.executable, "-m", "benchmarks.distillation_speed", "--arm", arm, *common]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        return {"failed": lines[-1]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure_vocabulary(vocabulary: int, options: argparse.Namespace) -> dict[str, Any]:
    """All arms on one shape, and the ratios of ours to the others."""
    arms = options.arms or [*OWN, *(FOREIGN if options.torch else ())]
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        batch_file = Path(folder) / "batch.npz"
        tokens = make_batch(batch_file, vocabulary)
        for arm in arms:
            found = start_arm(arm, options, batch_file, vocabulary)
            if "cpu_seconds" in found:
                found["tokens_per_cpu_second"] = summarise(
                    [tokens / seconds for seconds in found.pop("cpu_seconds")]
                )
            results[arm] = found
            print(vocabulary, arm, json.dumps(found), flush=True)
    ratios = ratios_of(results)
    for pair, ratio in ratios.items():
        print(f"{vocabulary} {pair}: {ratio['speed']} x the speed, {ratio['memory']} x the memory")
    return {"tokens": tokens, "arms": results, "ratios": ratios}


def ratios_of(results: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Ours to each baseline: tokens per CPU second, and extra memory."""
    measured = {arm: found for arm, found in results.items() if "extra_bytes" in found}
    ratios = {}
    for baseline in ("naive", *FOREIGN):
        for arm in ("online", "cached", "online-packed", "cached-packed"):
            if baseline in measured and arm in measured:
                one, other = (measured[name] for name in (arm, baseline))
                speeds = [each["tokens_per_cpu_second"]["median"] for each in (one, other)]
                ratios[f"{arm} / {baseline}"] = {
                    "speed": round(speeds[0] / speeds[1], 2),
                    "memory": round(one["extra_bytes"] / other["extra_bytes"], 3),
                }
    return ratios


def main() -> None:
    if sys.argv[1:2] == ["--arm"]:
        arm, file, vocabulary, steps = sys.argv[2:]
        print(json.dumps(run_arm(arm, Path(file), int(vocabulary), int(steps))))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--vocabulary", type=int, nargs="*", choices=sorted(SHAPES), default=sorted(SHAPES)
    )
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--torch", type=Path, help="Python of the torch environment")
    parser.add_argument("--arms", nargs="*", choices=OWN + FOREIGN)
    parser.add_argument("--store", action="store_true", help="write benchmarks/results")
    options = parser.parse_args()
    results = {
        str(vocabulary): measure_vocabulary(vocabulary, options)
        for vocabulary in options.vocabulary
    }
    if options.store:
        store_result(
            "distillation_speed",
            question="How fast is a distillation step, and what memory does it take?",
            baseline="naive (Paddle); torchtune, TRL and Liger where --torch is given",
            settings={
                "threads": 1,
                "steps": options.steps,
                "shapes": {str(vocabulary): SHAPES[vocabulary] for vocabulary in SHAPES},
            },
            results=results,
            packages=("paddlepaddle", "paddlenlp", "numpy"),
        )


if __name__ == "__main__":
    main()
