"""A run that does what its plan says, for tests of who supervises it.

    python -m tests.fakes.supervised_run FOLDER

Every start takes the next line of FOLDER/plan: words that are done one after the other.

    step=N   logs step N              save=N   commits a checkpoint of step N
    say=X    prints X on stderr       exit=N   ends           (_ in X stands for a space)
    stammer=X  prints X on stderr letter by letter
    kill     kills itself             wait     waits for a signal, saves step 99, ends with 75
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType


def save(folder: Path, step: int) -> None:
    # Imported here: most lives save nothing.
    from src.checkpoint.manager import CheckpointManager
    from tests.fakes.checkpoint_content import FACTS, documents_of, tensors_of

    with CheckpointManager(folder, keep_last=2) as manager:
        manager.save(
            step,
            tensors=tensors_of(step),
            documents=documents_of(step),
            facts=FACTS,
            blocking=True,
        )


def log(folder: Path, step: int) -> None:
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step}) + "\n")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def stammer(text: str) -> None:
    for letter in f"{text}\n".encode():
        os.write(sys.stderr.fileno(), bytes([letter]))


def wait_for_a_signal(folder: Path) -> None:
    asked: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    say("waiting")
    while not asked:
        signal.pause()
    say(f"got {signal.Signals(asked[0]).name}")
    save(folder, 99)
    sys.exit(75)


def do(folder: Path, word: str) -> None:
    name, _, value = word.partition("=")
    if name == "step":
        log(folder, int(value))
    elif name == "save":
        save(folder, int(value))
    elif name == "say":
        say(value.replace("_", " "))
    elif name == "stammer":
        stammer(value.replace("_", " "))
    elif name == "exit":
        sys.exit(int(value))
    elif name == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "wait":
        wait_for_a_signal(folder)
    else:
        raise ValueError(word)


def main() -> None:
    folder = Path(sys.argv[1])
    plan = folder / "plan"
    first, *rest = plan.read_text(encoding="utf-8").splitlines()
    plan.write_text("\n".join(rest), encoding="utf-8")
    say(f"start: {first}")
    for word in first.split():
        do(folder, word)


if __name__ == "__main__":
    main()
