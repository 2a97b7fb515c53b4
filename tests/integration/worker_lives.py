"""A process that waits to be killed, with workers that have made more steps than a pipe holds.

    python -m tests.integration.worker_lives FOLDER

writes a token cache into the folder, and the process ids of the workers to stdout.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import psutil

from src.tokens.stream import StreamingDataset, step_batches
from tests.fakes.small_tokens import DIRECTIONS, make_pairs, small_tokenizer, write_cache

PIPE_BYTES = 65_536


def main(folder: str) -> None:
    dataset = StreamingDataset(
        write_cache(Path(folder), make_pairs(2000)).split("train"),
        small_tokenizer(),
        language_pairs=DIRECTIONS,
        prompt="compact",
        max_seq_length=40,
        global_batch_size=2000,
        batch_size=500,
        seed=5,
    )
    steps = step_batches(dataset, num_workers=2)
    step = next(steps)
    if sum(part["input_ids"].nbytes for part in step["micro_batches"]) < PIPE_BYTES:
        raise SystemExit("these steps fit into a pipe")
    workers = [
        str(child.pid)
        for child in psutil.Process().children()
        if "resource_tracker" not in " ".join(child.cmdline())
    ]
    print(*workers, flush=True)  # noqa: T201  the test reads it
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1])
