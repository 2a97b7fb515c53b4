"""Runs of the data stage for the tests: a small dirty corpus, and processes that die on purpose.

    python -m tests.integration.process_runs CORPUS OUTPUT WORKERS [KILL_AT]

runs the stage and, with KILL_AT, ends itself with SIGKILL at that many changes of the file system,
or its whole process group at the first finished work unit when KILL_AT is "unit"; with
"limit-BYTES" no file can grow beyond that many bytes.
"""

import os
import random
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from src.corpus.work_units import plan_units, process_unit
from src.data_processor import DataProcessor
from src.schema import Config, DataConfig, FiltersConfig, SourceConfig, SplitsConfig
from src.tasks.processes import run_tasks

_CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}
_SUBJECTS = ("the old bridge", "a young teacher", "my neighbour", "this small company")
_HAN_SUBJECTS = ("那座旧桥", "一位年轻教师", "我的邻居", "这家小公司")


def write_corpus(folder: Path, rows: int, seed: int = 0) -> Path:
    """A TSV of which about a third is dirt of many kinds; no two clean lines are alike."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)  # noqa: S311  not for secrets
    lines: list[bytes] = []
    for number in range(rows):
        subject = number % len(_SUBJECTS)
        english = f"In the year {1000 + number} {_SUBJECTS[subject]} was seen {number} times."
        chinese = f"在{1000 + number}年，{_HAN_SUBJECTS[subject]}被看见了{number}次。"
        line = f"{english}\t{chinese}".encode()
        dirty = [
            f"{chinese}\t{english}".encode(),
            f"{english}\t{english}".encode(),
            f"{english}\t".encode(),
            f"{english}\t{chinese}\tmore".encode(),
            b"\xff\xfe broken\t" + chinese.encode(),
            f"{english}\t在{number}年，{_HAN_SUBJECTS[subject]}！".encode(),
            f"{english}\t在�{number}年".encode(),
            f"The bridge is old.\t那座桥{chr(0x4E00 + number)}旧。".encode(),
            lines[0] if lines else line,
        ]
        lines.append(chance.choice(dirty) if chance.random() < 0.3 else line)
    path = folder / "corpus.tsv"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def configure(source: Path, output: Path, num_workers: int, **changes: Any) -> Config:
    """A configuration with several work units and a tokenizer of its own."""
    values: dict[str, Any] = {
        "chunk_size": 120,
        "splits": SplitsConfig(dev=20, test=20),
        "sample_size": 250,
        "sample_strategy": "random",
        # The lines of the corpus differ in numbers only.
        "filters": FiltersConfig(max_pairs_per_template=None),
        "train_tokenizer_vocab_size": 300,
    }
    data = DataConfig(
        sources=(SourceConfig(path=str(source)),),
        output_dir=str(output),
        num_workers=num_workers,
        **{**values, **changes},
    )
    return Config(data=data)


def kill_at_change(number: int) -> None:
    """Ends this process at its n-th change of the file system, without any chance to tidy up."""
    seen = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in _CHANGES or (event == "open" and "w" in str(arguments[1])):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def die_with_workers_at_first_unit(config: Config) -> None:
    """Ends the process group as soon as one worker has handed in its unit."""
    work_folder = Path(config.data.output_dir) / "work"
    work_folder.mkdir(parents=True)
    units = plan_units(config.data, work_folder)
    for _ in run_tasks(process_unit, units, workers=2, describe=str):
        os.killpg(0, signal.SIGKILL)


def main(source: str, output: str, num_workers: str, kill_at: str = "never") -> None:
    config = configure(Path(source), Path(output), int(num_workers))
    if kill_at == "unit":
        die_with_workers_at_first_unit(config)
    if kill_at.startswith("limit-"):
        limit = int(kill_at.removeprefix("limit-"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if kill_at.isdigit():
        kill_at_change(int(kill_at))
    DataProcessor(config).process()


if __name__ == "__main__":
    main(*sys.argv[1:])
