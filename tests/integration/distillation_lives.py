"""Writing soft labels or translations in small shards, in a process that may die on purpose.

    python -m tests.integration.distillation_lives KILL_AT CONFIG [section.key=value …]

writes translations where the configuration says kd_mode=sequence, else soft labels, and ends
itself with SIGKILL at that many opened or renamed files below the folder "soft"; "never" lets it
finish.
"""

import os
import signal
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file by paddle.distributed.launch
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from src.config import load_config
from src.distillation import items
from src.distillation.sequence.translate import write_translations
from src.distillation.soft_labels.write import write_soft_labels
from src.environment import prepare_environment
from src.errors import EXIT_DONE
from src.launch import leave


def kill_at_change(number: int) -> None:
    """Ends this process at its n-th change of the file system, without any chance to tidy up."""
    seen = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        is_change = event == "os.rename" or (event == "open" and "w" in str(arguments[1]))
        if is_change and "/soft/" in str(arguments[0]):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def main(kill_at: str, config: str, *overrides: str) -> None:
    items.SHARD_ROWS = 100  # several shards in a corpus of few hundred pairs
    if kill_at != "never":
        kill_at_change(int(kill_at))
    loaded = load_config([Path(config)], list(overrides))
    if loaded.student.kd_mode == "sequence":
        write_translations(loaded)
    else:
        write_soft_labels(loaded)


if __name__ == "__main__":
    prepare_environment()
    main(*sys.argv[1:])
    leave(EXIT_DONE)
