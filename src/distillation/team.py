"""Ranks that write one folder together: one run at a time, and all stop when one is asked to.

    .lock                   held by the main rank for as long as a run writes
    .ranks/4f1c…/made-1     rank 1 has come to the meeting "made"
    .ranks/4f1c…/stop-1     rank 1 ends, and why: all are to end
    .ranks/4f1c…/left-1     rank 1 writes no more

Shares of the work take unequally long, and who waits has to hear when another ends, which no
collective and no barrier tells. So ranks wait for each other through the folder, which all see, and
as long as it takes; a rank that dies without a word is its launcher's business, which then ends the
others.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from src.errors import EXIT_FAILED, EXIT_INTERRUPTED, DataError, LinguaBridgeError
from src.folder_lock import FolderLock
from src.training.interrupt import StopRequest
from src.training.parallel import Ranks

_RANKS = ".ranks"
_LOOK_SECONDS = 0.2
_PARTING_SECONDS = 20.0  # less than a launcher waits for what it has told to end


class ShardsInterrupted(LinguaBridgeError):
    """The work was asked to stop; finished shards are kept."""

    exit_code = EXIT_INTERRUPTED


class Team:
    """This process among those that write a folder; a context manager, for as long as it writes.

    Entering takes the folder for this run, on all ranks or on none; signals only ask to stop while
    it is active.

    Args:
        path: The folder, on a disk that all ranks see.
        what: What is written there, for people: "soft labels".
        ranks: This process among its peers. All enter at about the same time.

    Attributes:
        ranks: The same.
    """

    def __init__(self, path: Path, *, what: str, ranks: Ranks) -> None:
        self.ranks = ranks
        self._path = path
        self._lock = FolderLock(
            path, holds=what, other="name another student.soft_labels", error=DataError
        )
        self._board = path / _RANKS
        self._stop = StopRequest()

    def __enter__(self) -> Team:
        """Takes the folder.

        Raises:
            DataError: If another run writes there, or it cannot be written.
        """
        token, refusal = self._take() if self.ranks.is_main else ("", "")
        token, refusal = json.loads(self.ranks.share_text(json.dumps([token, refusal])))
        if refusal:
            raise DataError(refusal)
        self._board /= token
        self._stop.__enter__()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        try:
            if self.ranks.world_size > 1:
                self._part(error)
        finally:
            self._stop.__exit__()
            self._lock.release()

    def stop_if_asked(self) -> None:
        """Ends the work when a signal asked any rank for it, or a rank has failed.

        Raises:
            ShardsInterrupted: If a signal came.
            LinguaBridgeError: What a peer has ended by.
        """
        if self._stop.reason:
            raise ShardsInterrupted(
                f"stopped by {self._stop.reason}; finished shards in {self._path} are kept. Run "
                "the same command again to continue."
            )
        if self.ranks.world_size > 1:
            for name in self._posted():
                if name.startswith("stop-"):
                    raise self._told(name)

    def require_own(self) -> None:
        """Makes sure, before something is written, that no later run has taken the folder.

        Raises:
            DataError: If one has.
        """
        if self.ranks.world_size > 1:
            self._posted()

    def meet(self, place: str) -> None:
        """Waits until every rank has come to this place, once in a run; however long it takes.

        Raises:
            LinguaBridgeError: See `stop_if_asked`.
        """
        if self.ranks.world_size == 1:
            return
        self._post(f"{place}-{self.ranks.rank}")
        while not self._all(place) <= self._posted():
            self.stop_if_asked()
            time.sleep(_LOOK_SECONDS)

    def _take(self) -> tuple[str, str]:
        """Name of the run, and what speaks against it."""
        token = secrets.token_hex(8)
        try:
            self._lock.claim()
            # What an earlier run left; a rank of it that still lives will miss it, and end.
            if self._board.exists():
                shutil.rmtree(self._board)
            if self.ranks.world_size > 1:
                (self._board / token).mkdir(parents=True)
        except DataError as error:
            return token, str(error)
        except OSError as error:
            self._lock.release()
            return token, (
                f"{self._board} cannot be written ({error.strerror}); name another "
                "student.soft_labels"
            )
        return token, ""

    def _part(self, error: BaseException | None) -> None:
        """Tells the others, and lets them end at about the same time."""
        with suppress(DataError, OSError):  # the folder is another run's, or the disk is full
            if error is not None:
                self._post(f"stop-{self.ranks.rank}", _as_text(error, self.ranks.rank))
            self._post(f"left-{self.ranks.rank}")
            if error is None and not self.ranks.is_main:
                return
            deadline = time.monotonic() + _PARTING_SECONDS
            while not self._all("left") <= self._posted():
                if time.monotonic() > deadline:
                    return
                time.sleep(_LOOK_SECONDS)
            if self.ranks.is_main:
                shutil.rmtree(self._board.parent)

    def _all(self, place: str) -> set[str]:
        return {f"{place}-{rank}" for rank in range(self.ranks.world_size)}

    def _posted(self) -> set[str]:
        try:
            return {path.name for path in self._board.iterdir()}
        except FileNotFoundError:
            raise self._lost() from None

    def _post(self, name: str, text: str = "") -> None:
        partial = self._board / f".{name}"
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(self._board / name)
        except FileNotFoundError:
            raise self._lost() from None

    def _told(self, name: str) -> LinguaBridgeError:
        """What a peer has ended by, as this rank's error."""
        try:
            words = json.loads((self._board / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return self._lost()
        if words["exit_code"] == EXIT_INTERRUPTED:
            return ShardsInterrupted(words["message"])
        error = LinguaBridgeError(words["message"])
        error.exit_code = words["exit_code"]
        return error

    def _lost(self) -> DataError:
        return DataError(
            f"{self._path} is being written by another run that began after this one, so this one "
            "ends; wait for the other, or name another student.soft_labels"
        )


def _as_text(error: BaseException, rank: int) -> str:
    if isinstance(error, LinguaBridgeError):
        return json.dumps({"message": str(error), "exit_code": error.exit_code})
    message = f"rank {rank} has ended ({type(error).__name__}: {error}); see its log"
    return json.dumps({"message": message, "exit_code": EXIT_FAILED})
