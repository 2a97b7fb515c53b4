"""How much text there is to train on, and how long its sequences are.

What `run.py process` has measured is in its report.json; before that, numbers from real English-
Chinese text stand in, and are named as what they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.errors import ConfigError
from src.schema import Config

MEAN_TOKENS: Mapping[str, float] = {"compact": 43.7, "chatml": 80.7}
"""Mean tokens of prompt, source and target with Qwen's tokenizer, on 341,000 real pairs."""
ASSUMED_PAIRS = 1_000_000
REPORT_FILE = "report.json"
_PERCENTILES = ("p50", "p90", "p95", "p99", "max")


@dataclass(frozen=True)
class CorpusFacts:
    """What a plan takes the training text to be.

    Attributes:
        items: Sequences of an epoch, all directions together.
        mean_length: Mean tokens of a sequence, prompt included.
        source: Where the two come from.
        lengths: By direction, as report.json has them; empty before `process`.
        vocabulary: Ids of the corpus' own tokenizer; None for Qwen's.
    """

    items: int
    mean_length: float
    source: str
    lengths: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    vocabulary: int | None = None


@dataclass(frozen=True)
class LengthAdvice:
    """What one `max_seq_length` leaves out.

    Attributes:
        length: In tokens.
        label: Why it is in the list, e.g. "p99".
        pairs_cut: Share of pairs left out, over all directions.
        tokens_cut: Share of tokens left out.
    """

    length: int
    label: str
    pairs_cut: float
    tokens_cut: float


def corpus_facts(config: Config, *, pairs: int | None, prompt: str) -> CorpusFacts:
    """Facts from report.json, else from `pairs`, `data.sample_size` or an assumption.

    Args:
        config: Says where report.json lies, and the directions.
        pairs: Given on the command line; wins over everything.
        prompt: Of the stage.

    Raises:
        ConfigError: If report.json is there and cannot be read.
    """
    report = _read_report(Path(config.data.output_dir) / REPORT_FILE)
    vocabulary = config.data.train_tokenizer_vocab_size
    directions = config.data.language_pairs
    lengths: dict[str, Any] = {}
    mean, origin = MEAN_TOKENS[prompt], "mean length of 341,000 real pairs with this prompt"
    if report is not None and report.get("token_lengths"):
        lengths = report["token_lengths"]
        tokens = sum(entry["tokens"] for entry in lengths.values())
        sequences = sum(entry["pairs"] for entry in lengths.values())
        if sequences:
            mean, origin = tokens / sequences, f"mean length from {REPORT_FILE}"
    if pairs is not None:
        return CorpusFacts(
            pairs * len(directions), mean, f"--pairs {pairs:,}; {origin}", lengths, vocabulary
        )
    if lengths:
        limits = config.data.max_samples
        items = sum(
            min(entry["pairs"], limits.get(direction, entry["pairs"]))
            for direction, entry in lengths.items()
        )
        return CorpusFacts(items, mean, f"pairs and {origin}", lengths, vocabulary)
    size = config.data.sample_size
    said = f"data.sample_size={size:,}" if size else f"{ASSUMED_PAIRS:,} pairs assumed, see --pairs"
    return CorpusFacts((size or ASSUMED_PAIRS) * len(directions), mean, f"{said}; {origin}",
                       lengths, vocabulary)  # fmt: skip


def length_advice(
    lengths: Mapping[str, Mapping[str, Any]],
) -> tuple[list[LengthAdvice], int | None]:
    """What the lengths near the percentiles would leave out, and the recommended one.

    Returns:
        One line per candidate that report.json weighs, labelled with the percentiles it covers,
        and the smallest that leaves out at most 0.1 % of the pairs.
    """
    if not lengths:
        return [], None
    entries = list(lengths.values())
    pairs = sum(entry["pairs"] for entry in entries) or 1
    tokens = sum(entry["tokens"] for entry in entries) or 1
    advice, covered = [], set[str]()
    for place, candidate in enumerate(entries[0]["candidates"]):
        length = int(candidate["max_seq_length"])
        cuts = [entry["candidates"][place] for entry in entries]
        reached = [
            name
            for name in _PERCENTILES
            if name not in covered and all(entry.get(name, 0) <= length for entry in entries)
        ]
        covered.update(reached)
        if reached or sum(cut["cut_pairs"] for cut in cuts):
            advice.append(
                LengthAdvice(
                    length,
                    ", ".join(reached) or "-",
                    sum(cut["cut_pairs"] for cut in cuts) / pairs,
                    sum(cut["cut_tokens"] for cut in cuts) / tokens,
                )
            )
    return advice, entries[0].get("recommendation")


def _read_report(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}; run `run.py process` again, or give --pairs and move "
            "the file away"
        ) from error
    return content
