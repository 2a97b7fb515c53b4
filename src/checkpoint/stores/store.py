"""What a store is: checkpoint folders of one run, outside the machine that trains.

Whoever trains into a store holds a **generation**, a number that only grows. It stands in the name
of everything this writer puts, and nobody writes below the number of another one:

    checkpoint-00001200.w0007/   model.safetensors …  MANIFEST.json (last)
    best-00000600.w0007/         final-00002000.w0007/
    writers/0007.json            who holds the number; created where there was none

So a writer that was thought dead cannot overwrite what its successor has put, whatever it does
and however late; and once there is a higher number it commits nothing more. On the Hub, where a
commit names its parent, the folders are called checkpoint-00001200, best and final.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from src.checkpoint.manifest import Manifest
from src.checkpoint.stores.bucket import Report
from src.errors import StoreError

CHECKPOINT = "checkpoint"
BEST = "best"
FINAL = "final"
KINDS = (CHECKPOINT, BEST, FINAL)

_NAME = re.compile(rf"({'|'.join(KINDS)})-(\d{{8,}})\.w(\d{{4,}})")


@dataclass(frozen=True, order=True)
class Stored:
    """A folder in a store; they sort as the run went: by writer, then by step.

    Attributes:
        generation: Number of the writer; 0 where the store needs none.
        step: Optimizer steps done.
        kind: One of `KINDS`.
        name: What it is called there.
    """

    generation: int
    step: int
    kind: str
    name: str

    @property
    def local_name(self) -> str:
        """What the folder is called in the run's own folder."""
        return f"{CHECKPOINT}-{self.step:08d}" if self.kind == CHECKPOINT else self.kind


def stored_as(kind: str, step: int, generation: int) -> Stored:
    """The folder a writer of this generation puts a kind of this step into."""
    return Stored(generation, step, kind, f"{kind}-{step:08d}.w{generation:04d}")


def parse_stored(name: str) -> Stored | None:
    """`"checkpoint-00001200.w0007"` → its parts; None for any other name."""
    match = _NAME.fullmatch(name)
    return Stored(int(match[3]), int(match[2]), match[1], name) if match else None


class Fenced(StoreError):
    """Another writer has taken over, so this one commits nothing more."""


class Store(Protocol):
    """Checkpoint folders of one run. `str(store)` is how messages call it.

    Every method raises StoreError when the store refuses or stays away.

    Attributes:
        address: What opens it again, with its options.
        seconds_between_puts: How far apart folders should be put while nobody waits for them.
    """

    address: str
    seconds_between_puts: float

    def claim(self, previous: int | None) -> int:
        """Makes this process the writer and returns its generation.

        Args:
            previous: The generation this run's folder held before; kept if nobody has a higher.
        """

    def list(self) -> Sequence[Stored]:
        """The committed folders in the order of the run; their bytes may still be damaged."""

    def read_manifest(self, stored: Stored) -> Manifest:
        """What a folder promises; CheckpointCorrupt if that cannot be read."""

    def verify(self, stored: Stored) -> Manifest:
        """Reads every byte; CheckpointCorrupt at the first difference."""

    def fetch(self, stored: Stored, target: Path) -> Manifest:
        """Downloads to `target`, which appears whole or not at all, verified on the way.

        Raises:
            CheckpointCorrupt: If something differs from the manifest.
            CheckpointError: If the disk refuses.
        """

    def wants(self, kind: str, step: int) -> bool:
        """Whether this store keeps such a folder at all."""

    def put(self, source: Path, kind: str, report: Report) -> Stored:
        """Uploads a whole folder and commits it, going on where an earlier attempt ended.

        Raises:
            Fenced: If another writer has taken over.
            CheckpointCorrupt: If `source` is not what its manifest says.
            OSError: If it cannot be read.
        """

    def rotate(self, *, keep_last: int) -> Sequence[Stored]:
        """Deletes what need not be kept, and what dead writers left; returns whole folders."""

    def delete(self, stored: Stored) -> None:
        """Removes a folder, its manifest first."""


def newest_line(folders: Sequence[Stored]) -> list[Stored]:
    """The checkpoints a run would go back through, newest first.

    The newest writer's come first; of those before it only what lies before the point at which
    the next one had taken over. What an earlier writer trained beyond that is another line.
    """
    line: list[Stored] = []
    for stored in sorted((each for each in folders if each.kind == CHECKPOINT), reverse=True):
        if not line or stored.step < line[-1].step:
            line.append(stored)
    return line


def surplus(
    folders: Sequence[Stored], *, keep_last: int, is_kept: Callable[[int], bool] = lambda _: False
) -> list[Stored]:
    """What rotation lets go, oldest first.

    Kept are the last checkpoints in the order of the run, those whose step `is_kept` names, and the
    newest of best and of final.
    """
    gone: list[Stored] = []
    for kind in KINDS:
        ordered = sorted(each for each in folders if each.kind == kind)
        last = keep_last if kind == CHECKPOINT else 1
        gone += [each for each in ordered[:-last] if kind != CHECKPOINT or not is_kept(each.step)]
    return sorted(gone)
