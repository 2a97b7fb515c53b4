"""How long does training stand still for a checkpoint, saved behind it and saved before its eyes?

    python -m benchmarks.checkpoint_save [--parameters 200000000] [--repeats 7] [--folder runs]

Blocking (the baseline): write, hash, fsync and rename the live parameters, without a copy.
Asynchronous: copy them to host memory, hand the copy over, go on. The two alternate in one run. The
folder's disk decides the baseline: on a disk in memory nothing is waited for.

The asynchronous save copies into buffers that stay allocated; what a copy into fresh memory takes,
as at the first save of a run, is measured beside it. What goes on behind also costs: the same NumPy
work is timed alone and beside a save.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import print_stored, seconds_of, store_result, summarise
from src.checkpoint.format import HostBuffers, HostTensor, TensorFiles
from src.checkpoint.manager import CheckpointManager

Parameters = dict[str, NDArray[np.float32]]
TENSORS = 100
WORK_SIDE = 512
WORK_ROUNDS = 60


def live_parameters(count: int) -> Parameters:
    random = np.random.default_rng(0)
    return {
        f"layer.{index}": random.standard_normal(count // TENSORS, dtype=np.float32)
        for index in range(TENSORS)
    }


def as_files(parameters: Parameters) -> TensorFiles:
    return {
        "model.safetensors": {
            name: HostTensor.from_numpy(array) for name, array in parameters.items()
        }
    }


def fresh_copy(parameters: Parameters) -> TensorFiles:
    return as_files({name: array.copy() for name, array in parameters.items()})


def work() -> None:
    """Stands for the computation of training: a fixed number of matrix products."""
    matrix = np.ones((WORK_SIDE, WORK_SIDE), np.float32)
    for _ in range(WORK_ROUNDS):
        matrix @ matrix


def measure(parameters: Parameters, manager: CheckpointManager, repeats: int) -> dict[str, object]:
    """Alternates the two kinds of save, so that both see the same state of disk and caches."""
    samples: dict[str, list[float]] = defaultdict(list)
    buffers = HostBuffers()
    steps = itertools.count()

    def blocking() -> None:
        manager.save(
            next(steps), tensors=as_files(parameters), documents={}, facts={}, blocking=True
        )

    def asynchronous() -> None:
        manager.wait()
        copies = buffers.copy_all(parameters)
        manager.save(next(steps), tensors=as_files(copies), documents={}, facts={})

    asynchronous()  # touches the buffers' memory
    manager.wait()
    for _ in range(repeats):
        samples["fresh_copy"].append(seconds_of(lambda: fresh_copy(parameters)))
        samples["blocking_stall"].append(seconds_of(blocking))
        samples["work_alone"].append(seconds_of(work))
        samples["asynchronous_stall"].append(seconds_of(asynchronous))
        samples["work_beside_save"].append(seconds_of(work))
        samples["background"].append(samples["work_beside_save"][-1] + seconds_of(manager.wait))
    results: dict[str, object] = {
        f"{name}_seconds": summarise(values) for name, values in samples.items()
    }
    for above, below in (
        ("asynchronous_stall", "blocking_stall"),
        ("fresh_copy", "blocking_stall"),
        ("work_beside_save", "work_alone"),
    ):
        results[f"{above}_over_{below}"] = summarise(ratios(samples[above], samples[below]))
    return results


def ratios(above: list[float], below: list[float]) -> list[float]:
    return [one / other for one, other in zip(above, below, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parameters", type=int, default=200_000_000, help="float32 numbers")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=Path("runs"), help="on the disk to measure")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as scratch,
        CheckpointManager(Path(scratch), keep_last=1) as manager,
    ):
        results = measure(live_parameters(options.parameters), manager, options.repeats)
        if manager.failures:
            raise SystemExit(manager.failures[0].reason)
    path = store_result(
        "checkpoint_save",
        question="How long does training stand still for a checkpoint?",
        baseline="a blocking save of the same parameters in the same run",
        settings={
            "parameters": options.parameters,
            "bytes": 4 * options.parameters,
            "repeats": options.repeats,
        },
        results=results,
        packages=["numpy"],
    )
    print_stored(results, path)


if __name__ == "__main__":
    main()
