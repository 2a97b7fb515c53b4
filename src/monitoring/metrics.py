"""metrics.jsonl: one JSON object per logged step, and the views fed from it.

The file is the truth; the console line and VisualDL show the same numbers. A resumed run first cuts
off the lines behind its checkpoint, so that no step stands twice.
"""

from __future__ import annotations

import errno
import json
import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.units import format_count, format_seconds

logger = logging.getLogger(__name__)

METRICS_FILE = "metrics.jsonl"
VISUALDL_FOLDER = "visualdl"


class MetricsWriter:
    """Appends records to metrics.jsonl and, if wanted, to VisualDL. Only the main rank has one.

    Args:
        folder: The run's folder.
        visualdl: Whether to write VisualDL scalars too.
        resume_step: Records behind this step are cut off; 0 starts a new file.
    """

    def __init__(self, folder: Path, *, visualdl: bool, resume_step: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / METRICS_FILE
        _cut_behind(self._path, resume_step)
        self._file = self._path.open("ab", buffering=0)
        self._is_refused = False
        self._visualdl = _open_visualdl(folder / VISUALDL_FOLDER) if visualdl else None

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends one record; it must hold `step`. Numbers that are not finite become null.

        A disk that refuses it costs the record, not the training.
        """
        clean = {key: _finite(value) for key, value in record.items()}
        try:
            self._append(json.dumps(clean) + "\n")
            self._show(clean)
        except OSError as error:
            if not self._is_refused:
                logger.warning(
                    "metrics are lost from step %d on: %s", clean["step"], error.strerror or error
                )
            self._is_refused = True
        else:
            self._is_refused = False

    def _append(self, line: str) -> None:
        """One write, past Python's buffer: what a full disk refused must not come later."""
        data = line.encode()
        end, written = os.fstat(self._file.fileno()).st_size, 0
        try:
            written = self._file.write(data)
        finally:
            if written < len(data):
                self._file.truncate(end)
        if written < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _show(self, clean: Mapping[str, Any]) -> None:
        if self._visualdl is None:
            return
        for key, value in clean.items():
            if key != "step" and isinstance(value, int | float):
                self._visualdl.add_scalar(tag=f"train/{key}", step=clean["step"], value=value)

    def cut_behind(self, step: int) -> None:
        """Takes out the records behind a step: the run has gone back to it."""
        self._file.close()
        _cut_behind(self._path, step)
        self._file = self._path.open("ab", buffering=0)

    def close(self) -> None:
        """Flushes both views."""
        self._file.close()
        if self._visualdl is not None:
            self._visualdl.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All whole records of a metrics file, oldest first; a torn last line is left out."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def console_line(record: Mapping[str, Any]) -> str:
    """`step 120/2000  6.0%  loss 2.314  lr 1.0e-05  18.2k tok/s  41 s left`."""
    step, total_steps = record["step"], record["total_steps"]
    parts = [
        f"step {step}/{total_steps}",
        f"{100 * step / total_steps:.1f}%",
        f"loss {record['loss']:.3f}",
    ]
    if record.get("divergence") is not None:
        parts.append(f"ce {record['cross_entropy']:.3f} kl {record['divergence']:.3f}")
    parts += [
        f"lr {record['lr']:.1e}",
        f"{format_count(record['tokens_per_second'])} tok/s",
        f"{format_seconds(record['seconds_left'])} left",
    ]
    return "  ".join(parts)


def _cut_behind(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept = [record for record in read_metrics(path) if step and record["step"] <= step]
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in kept)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _open_visualdl(folder: Path) -> Any:
    from visualdl import LogWriter  # takes a second to import, and only one rank needs it

    return LogWriter(logdir=str(folder))
