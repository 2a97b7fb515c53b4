"""One rank of several that make shards together, which wait, are stopped, or fail.

    python -m tests.integration.team_lives FOLDER equal|slow|stop|fail

makes four shards; rank 1 takes its time over each ("slow"), waits in its first for a signal
("stop"), or ends by an error there ("fail"). Ends as the program does, with the error's exit code.
"""

import sys
import time
from pathlib import Path
from typing import NoReturn

from src.distillation.shards import MadeShard, ShardFolder, ShardRange
from src.environment import prepare_environment
from src.errors import EXIT_DONE, EXIT_FAILED, LinguaBridgeError
from src.launch import leave
from src.training.parallel import Ranks, join_ranks

RANGES = [
    ShardRange("en-zh", 0, number, range(number * 10, number * 10 + 10)) for number in range(4)
]


def refuse_barrier(_: Ranks) -> NoReturn:
    raise AssertionError("who waits at a barrier does not hear that a peer has ended")


def work(path: Path, mode: str) -> None:
    ranks = join_ranks()
    setattr(Ranks, "barrier", refuse_barrier)  # noqa: B010 — a method, as mypy sees it
    folder = ShardFolder(path, form="test/1", what="soft labels", command="make them")
    with folder.team(ranks) as team:

        def make(part: ShardRange) -> MadeShard:
            if ranks.rank == 1:
                (path / "making").touch()
                time.sleep(1.0 if mode == "slow" else 0.0)
                while mode == "stop":
                    team.stop_if_asked()
                    time.sleep(0.01)
                if mode == "fail":
                    raise OSError(28, "No space left on device")
            return MadeShard(part.file.encode(), {"pairs": 10})

        folder.complete(
            identity={"teacher": "one"},
            about={},
            ranges=RANGES,
            open_maker=lambda: make,
            team=team,
        )


def main(path: str, mode: str) -> NoReturn:
    prepare_environment()
    try:
        work(Path(path), mode)
    except (LinguaBridgeError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        leave(error.exit_code if isinstance(error, LinguaBridgeError) else EXIT_FAILED)
    leave(EXIT_DONE)


if __name__ == "__main__":
    main(*sys.argv[1:])
