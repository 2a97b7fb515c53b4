"""Replaces a token cache again and again, killed at every action on the disk in turn.

    python -m tests.integration.token_cache_lives FOLDER

Each life is forked from here, replaces the old cache (text fingerprint "old") by a new one of
two shards and is killed (SIGKILL) before its n-th action: opening a file to write, making,
renaming or removing one. Prints one line of JSON per life: which cache a reader then finds,
verified; whether the next writer of the same cache makes the same bytes, and with how many of the
killed one's shards; and what it leaves. The last life is not killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from src.tokens.cache import TokenCache
from src.tokens.write_cache import write_token_cache
from tests.fakes.small_tokens import make_pairs, small_tokenizer, write_text_shard

PAIRS = make_pairs(40)
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir"}


def write(folder: Path, fingerprint: str, count: int) -> None:
    """Writes a cache of `count` pairs in shards of 20."""
    text = folder.parent.with_name("text") / f"{count}.parquet"
    if not text.exists():
        write_text_shard(text, PAIRS[:count], rows_per_group=20)
    write_token_cache(
        folder,
        splits={"train": [text]},
        tokenizer=small_tokenizer(),
        text_fingerprint=fingerprint,
        shard_rows=20,
    )


def kill_before(action: int) -> None:
    """Ends this process before its `action`-th change on the disk, counted from 0."""
    left = action

    def see(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        opens_to_write = event == "open" and "w" in str(arguments[1])
        if event in CHANGES or opens_to_write:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(see)


def found_in(folder: Path) -> list[object]:
    """Fingerprint and size of the cache that a reader finds, verified."""
    cache = TokenCache.open(folder, verify=True)
    return [cache.text_fingerprint, len(cache.split("train"))]


def digest_of(folder: Path) -> str:
    """Over names and contents of all files."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(f"{path.relative_to(folder)}".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def shards_in(folder: Path) -> set[tuple[int, int]]:
    """Identities of files that cannot be the same unless they were kept."""
    paths = folder.rglob("shard-*.en.ids")
    return {(path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def main() -> None:
    """Lives until one is not killed."""
    folder = Path(sys.argv[1])
    partial = folder.with_name(f".{folder.name}.partial")
    old = folder.parent.with_name("old")
    write(old, "old", 20)
    write(folder, "new", 40)
    expected = digest_of(folder)
    for action in range(1000):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(old, folder)
        life = os.fork()
        if life == 0:
            kill_before(action)
            write(folder, "new", 40)
            os._exit(0)
        _, status = os.waitpid(life, 0)
        found, left_over = found_in(folder), shards_in(partial)
        write(folder, "new", 40)
        report = {
            "killed": os.WIFSIGNALED(status),
            "found": found,
            "is_same": digest_of(folder) == expected,
            "reused": len(left_over & shards_in(folder)),
            "left": sorted(path.name for path in folder.parent.iterdir()),
        }
        print(json.dumps(report), flush=True)  # noqa: T201
        if not report["killed"]:
            return


if __name__ == "__main__":
    main()
