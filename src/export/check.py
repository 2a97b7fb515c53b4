"""`run.py export --check`: is this folder what was exported, and does it answer as it did then?"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from src.checkpoint.format import verify_folder
from src.errors import ModelError
from src.export.folder import EXPORTED
from src.export.probes import compare_probes
from src.units import format_bytes

logger = logging.getLogger(__name__)

_SHOWN = 3


def check_folder(folder: Path) -> dict[str, Any]:
    """Compares every file with the manifest's hashes, then every probe with its recorded answer.

    Returns:
        folder, files, bytes, probes: what was compared.

    Raises:
        CheckpointCorrupt: If a file is not what the manifest promises, or there is no manifest.
        ModelError: If the folder is no export, or a probe is answered otherwise.
    """
    manifest = verify_folder(folder)
    if EXPORTED not in manifest.facts:
        raise ModelError(
            f"{folder} is a checkpoint, not an exported model; export it first with "
            f"`python run.py export --model {folder} --output FOLDER`"
        )
    logger.info(
        "%d files, %s: as exported", len(manifest.files), format_bytes(manifest.total_bytes)
    )
    count, differences = compare_probes(folder)
    if differences:
        shown = "; ".join(differences[:_SHOWN])
        raise ModelError(
            f"{len(differences)} of {count} probes are answered otherwise than at the export: "
            f"{shown}"
        )
    logger.info("%d probes: answered id by id as at the export", count)
    return {
        "folder": str(folder),
        "files": len(manifest.files),
        "bytes": manifest.total_bytes,
        "probes": count,
    }
