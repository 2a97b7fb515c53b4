"""The folder of a run before there is a model: whose it is, and where the run goes on.

What a checkpoint was made from stands in its manifest. Comparing that with this run comes before
the model is built, because building one of seven billion weights takes minutes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from src.checkpoint.manager import CheckpointManager
from src.checkpoint.manifest import Manifest
from src.checkpoint.stores.open import open_store
from src.files import write_text
from src.schema import Config, TrainerConfig
from src.training.parallel import Ranks

SUMMARY_FILE = "summary.json"


class RunFolder:
    """Holds the folder for this process; a context manager that waits for what is in flight.

    Only the main rank writes; the others call the same methods, which do nothing there.

    Attributes:
        path: The folder.
        manager: Writes and finds checkpoints in it.
        facts: What the run is made from, for the manifest of every checkpoint.

    Args:
        config: The whole configuration.
        section: The teacher's or the student's section.
        ingredients: What the run is made from besides its settings, e.g. {"corpus": fingerprint}; a
            checkpoint made from others is refused.
        ranks: This process among its peers.
    """

    def __init__(
        self,
        config: Config,
        section: TrainerConfig,
        *,
        ingredients: Mapping[str, str],
        ranks: Ranks,
    ) -> None:
        self.path = Path(section.output_dir)
        self.facts: dict[str, object] = {
            "ingredients": dict(ingredients),
            "stream": _stream_facts(config, section),
            "trained": _trained_facts(section),
        }
        address = section.checkpoint_store
        store = open_store(address) if address and ranks.is_main else None
        self.manager = CheckpointManager(
            self.path,
            keep_last=section.save_total_limit,
            is_main=ranks.is_main,
            store=store,
        )
        self._ranks = ranks
        self._setting = section.resume_from_checkpoint

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.manager.__exit__(kind, error, traceback)

    def find_resume(self) -> Path | None:
        """The newest checkpoint that this run may continue, or None: start at step 0.

        Raises:
            CheckpointError, ConfigError: If there are checkpoints and none can be used.
        """

        def find() -> str:
            found = self.manager.find_resume(self._setting, self._why_foreign)
            return str(found.path) if found else ""

        path = self._ranks.ask_main(find)
        return Path(path) if path else None

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Writes summary.json; its presence says that the run is finished."""
        if self._ranks.is_main:
            write_text(self.path / SUMMARY_FILE, json.dumps(summary, indent=2) + "\n")

    def _why_foreign(self, manifest: Manifest) -> str | None:
        """Why a whole checkpoint must not be continued by this run, or None."""
        changed = [
            _change(key, theirs, mine)
            for name in ("stream", "trained")
            for key, mine, theirs in _differences(self.facts[name], manifest.facts, name)
        ]
        changed += [
            f"it was made with another {key}"
            for key, _, _ in _differences(self.facts["ingredients"], manifest.facts, "ingredients")
        ]
        return "; ".join(changed) or None


def _differences(
    mine: object, facts: Mapping[str, object], name: str
) -> list[tuple[str, object, object]]:
    """Keys whose values differ between this run's facts and a manifest's: key, mine, theirs."""
    theirs = facts.get(name)
    if not isinstance(mine, dict) or not isinstance(theirs, dict):
        return [(name, mine, theirs)]
    keys = sorted(set(mine) | set(theirs))
    return [
        (key, mine.get(key), theirs.get(key)) for key in keys if mine.get(key) != theirs.get(key)
    ]


def _change(key: str, theirs: object, mine: object) -> str:
    """What has changed about a fact; of one that is written as words, only the words that have."""
    if isinstance(theirs, str) and isinstance(mine, str):
        before, now = theirs.split(), mine.split()
        if len(before) == len(now):
            pairs = [pair for pair in zip(before, now, strict=True) if pair[0] != pair[1]]
            theirs, mine = (" ".join(words) for words in zip(*pairs, strict=True))
    return f"{key} was {theirs!r} and is {mine!r} now"


def _stream_facts(config: Config, section: TrainerConfig) -> dict[str, object]:
    """What decides which batch comes at which step."""
    return {
        "seed": section.seed,
        "prompt": section.prompt,
        "max_seq_length": section.max_seq_length,
        "language_pairs": list(config.data.language_pairs),
        "max_samples": dict(config.data.max_samples),
    }


def _trained_facts(section: TrainerConfig) -> dict[str, object]:
    """What decides which tensors a checkpoint holds, and what they mean."""
    lora = section.lora
    shape = "off"
    if lora is not None:
        shape = f"r={lora.r} alpha={lora.alpha:g} targets={','.join(lora.targets)}"
    return {
        "lora": shape,
        "quantization": section.quantization,
        "optimizer": section.optimizer,
    }
