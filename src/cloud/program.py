"""The program as one archive that instances fetch: what is needed to train, and nothing else.

Made from a fixed list of folders, so nothing that lies around in a checkout (keys, notes, data) can
slip in, and byte for byte the same from the same files, so that its hash names it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from src.errors import CloudError
from src.launch import ROOT

_PARTS = ("run.py", "pyproject.toml", "requirements.txt", "requirements-gpu.txt", "src", "deploy")
_SUFFIXES = {".py", ".toml", ".txt", ".yaml", ".sh", ".json"}


def pack_program(root: Path = ROOT) -> tuple[bytes, str]:
    """The archive and its SHA-256.

    Raises:
        CloudError: The checkout is not whole.
    """
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in _files(root):
            entry = tarfile.TarInfo(path.relative_to(root).as_posix())
            data = path.read_bytes()
            entry.size = len(data)
            entry.mode = 0o755 if path.suffix == ".sh" else 0o644
            archive.addfile(entry, io.BytesIO(data))
    packed = gzip.compress(content.getvalue(), compresslevel=6, mtime=0)
    return packed, hashlib.sha256(packed).hexdigest()


def _files(root: Path) -> Iterator[Path]:
    for part in _PARTS:
        path = root / part
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if _belongs(file, root))
        elif path.is_file():
            yield path
        else:
            raise CloudError(f"{path} is missing", "start from a whole checkout of the project")


def _belongs(path: Path, root: Path) -> bool:
    """Whether a file is source: by its suffix, not hidden, in no folder of caches."""
    *folders, name = path.relative_to(root).parts
    is_aside = name.startswith(".") or any(folder.startswith((".", "__")) for folder in folders)
    return path.is_file() and path.suffix in _SUFFIXES and not is_aside
