"""The side of a test that asks for lives of training; see tests/integration/training_lives.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Lives:
    """The process that starts lives; one after another."""

    def __init__(self, config: Path, log: Path) -> None:
        self.config = config
        self.log = log
        with log.open("w", encoding="utf-8") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.training_lives"],
                cwd=ROOT,
                # It forks, and must have no threads then.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    def run(
        self,
        output: Path,
        *keys: str,
        ranks: int = 1,
        kind: str = "never",
        count: int = 0,
        seen: Path | None = None,
    ) -> dict[str, Any]:
        """One life; the test fails if it ends otherwise than by itself or by the kill."""
        assert self.process.stdin
        assert self.process.stdout
        request = {
            "config": str(self.config),
            "overrides": [*keys, f"teacher.output_dir={output}"],
            "ranks": ranks,
            "kind": kind,
            "count": count,
        }
        if seen is not None:
            seen.mkdir(exist_ok=True)
            request["seen"] = str(seen)
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        life: dict[str, Any] = json.loads(self.process.stdout.readline())
        assert life["code"] in {0, -9}, self.log.read_text()[-4000:]
        return life
