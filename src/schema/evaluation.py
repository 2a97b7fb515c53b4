"""The sections `evaluation:` and `monitoring:`."""

from __future__ import annotations

from pydantic import field_validator

from src.schema.base import PositiveInt, Section
from src.schema.data import SourceConfig, accept_bare_strings


class EvaluationConfig(Section):
    """`run.py evaluate` and `run.py translate`."""

    sets: tuple[SourceConfig, ...] = ()
    """Test sets of your own, written as in `data.sources`. `process` keeps every pair that shares
    a sentence with one of them out of train."""
    max_samples: PositiveInt | None = 1000
    """Test pairs per direction that are translated and scored. null: all."""
    batch_size: PositiveInt = 64
    """Sentences decoded together."""
    max_new_tokens: PositiveInt = 256
    """Longest translation, in tokens."""
    preserve: bool = True
    """Whether a translation that loses placeholders, markup or numbers of its source is searched
    for again; placeholders, markup and long numbers are put back at last by translating around
    them, and what is still lost is warned of."""
    comet_model: str | None = None
    """A COMET model on this machine: model.ckpt or its folder. null leaves COMET out."""
    comet_python: str | None = None
    """The Python of an environment that has `unbabel-comet`. null: the one that runs this."""

    _accept_bare_strings = field_validator("sets", mode="before")(accept_bare_strings)


class MonitoringConfig(Section):
    """What training writes for people to look at."""

    visualdl: bool = True
    """Whether scalars are written to `output_dir`/visualdl besides metrics.jsonl."""
