"""Long work of the teacher, cut into shards that survive any kill.

    MANIFEST.json                 written last: what was made from what, size and hash of each shard
    en-zh/shard-00000.bin  …      one file per 8,192 rows of a direction
    work/plan.json                while it is being made: the same identity
    work/en-zh/shard-00000.json   of a finished shard: identity, size, SHA-256 and counts

A shard's bytes follow from identity and rows alone, so it does not matter which process makes it,
or how often: ranks share the missing ones out, and whoever starts again makes what is missing or
damaged. Every file is written whole or not at all, by one run at a time (`src.distillation.team`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.distillation.team import Team
from src.errors import DataError
from src.files import replaced_when_done, write_text
from src.schema import Config
from src.tasks.progress import Progress
from src.training.parallel import Ranks

logger = logging.getLogger(__name__)

MANIFEST = "MANIFEST.json"
_WORK = "work"
_PLAN = "plan.json"
_READ_BYTES = 8 * 1024 * 1024


def shard_file(direction: str, number: int) -> str:
    """Path of a shard within the folder."""
    return f"{direction}/shard-{number:05d}.bin"


@dataclass(frozen=True)
class ShardRange:
    """The rows of one shard.

    Attributes:
        direction: E.g. "en-zh".
        way: Its index among the configured directions.
        number: Of the shard within the direction.
        rows: Rows of the split.
    """

    direction: str
    way: int
    number: int
    rows: range

    @property
    def file(self) -> str:
        """Path within the folder."""
        return shard_file(self.direction, self.number)


@dataclass(frozen=True)
class MadeShard:
    """What making a shard gives.

    Attributes:
        content: The file's bytes.
        counts: Numbers for the manifest, e.g. {"tokens": 812}.
    """

    content: bytes
    counts: Mapping[str, int]


Maker = Callable[[ShardRange], MadeShard]


class ShardFolder:
    """A folder of shards that is being made, or is whole.

    Args:
        path: The folder.
        form: Name and version of the format.
        what: What is in it, for people: "soft labels".
        command: What makes it (again), for people.
        about: What is noted from the beginning, besides the identity.
    """

    def __init__(
        self, path: Path, *, form: str, what: str, command: str, about: Sequence[str] = ()
    ) -> None:
        self.path = path
        self._form = form
        self._what = what
        self._command = command
        self._noted = ("identity", *about)
        self._remedy = (
            f"run `{command}` with this configuration, and with another folder in "
            "student.soft_labels if these are still needed, or else after deleting them"
        )

    def manifest(self) -> dict[str, Any] | None:
        """The manifest of a whole folder; None where there is none.

        Raises:
            DataError: If it cannot be read, is of another format, or not as it was written.
        """
        path = self.path / MANIFEST
        found = self._read(path, (*self._noted, "fingerprint", "shards"))
        if found is not None:
            if None in found["shards"].values():  # as two runs at once once left it
                raise self.changed(path, "says nothing of a shard")
            if found["fingerprint"] != _digest([found["identity"], found["shards"]]):
                raise self.changed(path, "does not match its own fingerprint")
        return found

    def plan(self) -> dict[str, Any] | None:
        """What an unfinished folder was begun with; None where nothing was begun."""
        return self._read(self.path / _WORK / _PLAN, self._noted)

    def begun(self) -> dict[str, Any] | None:
        """What the folder's content is made from, whether it is whole or not."""
        return self.manifest() or self.plan()

    def team(self, ranks: Ranks) -> Team:
        """The right to write here, for all ranks of one run; a context manager."""
        return Team(self.path, what=self._what, ranks=ranks)

    def require(self, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        """Refuses content made from something else; keys that are not wanted do not count.

        Raises:
            DataError: Naming every key that differs.
        """
        differing = [
            f"{key} {_short(found.get(key))} where this configuration has {_short(value)}"
            for key, value in wanted.items()
            if found.get(key) != value
        ]
        if differing:
            raise DataError(
                f"{self.path} holds {self._what} made from {'; '.join(differing)}; {self._remedy}"
            )

    def check_sizes(self, manifest: Mapping[str, Any]) -> None:
        """Makes sure that every shard has the size that the manifest says.

        Raises:
            DataError: Naming the first torn or missing one.
        """
        for file, facts in manifest["shards"].items():
            path = self.path / file
            size = path.stat().st_size if path.is_file() else None
            if size != facts["bytes"]:
                raise self.damaged(
                    path,
                    "is missing"
                    if size is None
                    else f"has {size} bytes, the manifest says {facts['bytes']}",
                )

    def damaged(self, path: Path, reason: str) -> DataError:
        """The error for a shard that cannot be used."""
        return DataError(
            f"{path} {reason}: these {self._what} are damaged; run `{self._command}` with this "
            "configuration again, it makes damaged shards anew and keeps the others"
        )

    def changed(self, path: Path, reason: str) -> DataError:
        """The error for a manifest or plan that cannot be believed."""
        return DataError(
            f"{path} {reason}: it is not as it was written; restore it, or delete {path.parent} "
            f"and run `{self._command}` with this configuration, which makes what is missing"
        )

    def complete(
        self,
        *,
        identity: Mapping[str, Any],
        about: Mapping[str, Any],
        ranges: Sequence[ShardRange],
        open_maker: Callable[[], Maker],
        team: Team,
    ) -> dict[str, Any]:
        """Makes what is missing, on all ranks together, and writes the manifest.

        Args:
            identity: What the shards are made from.
            about: More for the manifest.
            ranges: All shards.
            open_maker: Called when something is missing: loads the teacher. What it returns may
                call `team.stop_if_asked` at any time.
            team: Those who write here.

        Raises:
            ShardsInterrupted: When asked to stop.
        """
        head = {"format": self._form, "identity": dict(identity), **about}
        old = self.manifest()
        known = {} if old is None else dict(old["shards"])
        if team.ranks.is_main and self.plan() is None:
            self.begin(identity, about)
        made_from = _digest(identity)
        missing = []
        for part in ranges:
            team.stop_if_asked()
            if not self._is_whole(part, made_from, known):
                missing.append(part)
        team.meet("compared")  # none is changed while another rank looks at it
        if missing:
            own = missing[team.ranks.rank :: team.ranks.world_size]
            logger.info("%s: %d of %d shards to make", self._what, len(missing), len(ranges))
            self._make(own, made_from, open_maker, team)
        team.meet("made")
        if team.ranks.is_main:
            self._finish(head, ranges, known)
        team.meet("finished")
        manifest = self.manifest()
        if manifest is None:
            raise DataError(f"{self.path / MANIFEST} is gone; run `{self._command}` again")
        return manifest

    def begin(self, identity: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        """Notes what the shards will be made from, before the first is."""
        head = {"format": self._form, "identity": dict(identity), **about}
        write_text(self.path / _WORK / _PLAN, json.dumps(head, indent=1) + "\n")

    def _make(
        self,
        parts: Sequence[ShardRange],
        made_from: str,
        open_maker: Callable[[], Maker],
        team: Team,
    ) -> None:
        progress = Progress(f"writing {self._what}", sum(len(part.rows) for part in parts))
        make = open_maker() if parts else None
        for part in parts:
            team.stop_if_asked()
            if make is None:
                raise ValueError("parts without a maker")
            made = make(part)
            team.require_own()
            with replaced_when_done(self.path / part.file) as partial:
                partial.write_bytes(made.content)
            facts = {
                "rows": [part.rows.start, part.rows.stop],
                "bytes": len(made.content),
                "sha256": hashlib.sha256(made.content).hexdigest(),
                **made.counts,
            }
            note = {"made_from": made_from, "facts": facts}
            write_text(self._note(part), json.dumps(note) + "\n")
            progress.add(len(part.rows))

    def _note(self, part: ShardRange) -> Path:
        return (self.path / _WORK / part.file).with_suffix(".json")

    def _facts(
        self, part: ShardRange, made_from: str, known: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """What is known of a finished shard; a note is newer than a manifest."""
        try:
            note = json.loads(self._note(part).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none, or a damaged one, which counts for nothing
            return known.get(part.file)
        if not isinstance(note, dict) or note.get("made_from") != made_from:
            return known.get(part.file)
        return dict(note["facts"])

    def _is_whole(self, part: ShardRange, made_from: str, known: Mapping[str, Any]) -> bool:
        facts = self._facts(part, made_from, known)
        path = self.path / part.file
        if facts is None or not path.is_file() or path.stat().st_size != facts["bytes"]:
            return False
        return bool(hash_files([path]) == facts["sha256"])

    def _finish(
        self, head: Mapping[str, Any], ranges: Sequence[ShardRange], known: Mapping[str, Any]
    ) -> None:
        made_from = _digest(head["identity"])
        made = {part.file: self._facts(part, made_from, known) for part in ranges}
        lacking = [file for file, facts in made.items() if facts is None]
        if lacking:
            raise DataError(
                f"{self.path / _WORK} says nothing of {lacking[0]} any more, which was just made; "
                f"something else changes that folder: end it and run `{self._command}` again"
            )
        # Directions that are not configured any more stay.
        shards = {**known, **made}
        manifest = {**head, "fingerprint": _digest([head["identity"], shards]), "shards": shards}
        write_text(self.path / MANIFEST, json.dumps(manifest, indent=1) + "\n")
        shutil.rmtree(self.path / _WORK)

    def _read(self, path: Path, keys: Sequence[str]) -> dict[str, Any] | None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            raise DataError(
                f"{self.path} lies below a file, not in a folder; name another student.soft_labels"
            ) from None
        except (OSError, ValueError) as error:
            raise self.changed(path, f"cannot be read ({error})") from error
        form = content.get("format") if isinstance(content, dict) else None
        if form != self._form:
            raise DataError(f"{path} has format {form!r}, not {self._form!r}; {self._remedy}")
        for key in keys:
            if key not in content:
                raise self.changed(path, f"lacks {key!r}")
        for key in ("identity", "shards"):
            if not isinstance(content.get(key, {}), dict):
                raise self.changed(path, f"has no list of names under {key!r}")
        return dict(content)


def output_root(config: Config) -> Path:
    """Where everything that a teacher stores for students is."""
    return Path(config.student.soft_labels or Path(config.data.output_dir) / "soft_labels")


def hash_files(paths: Sequence[Path]) -> str:
    """SHA-256 of the bytes of files, one after another."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
    return digest.hexdigest()


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _short(value: object) -> str:
    text = json.dumps(value)
    is_hash = isinstance(value, str) and len(value) == hashlib.sha256().digest_size * 2
    return text[1:13] if is_hash else text
