"""The named strategies of configs/presets, with the machine each is meant for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from src.config import preset_file, preset_names
from src.errors import ConfigError

WHOLE_CORPUS_PAIRS = 71_000_000
"""Pairs of the corpus that the full strategies are compared on."""

_MACHINE = re.compile(r"^# machine: (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Preset:
    """One strategy.

    Attributes:
        name: As `--preset` takes it.
        summary: The first line of its file.
        gpu: The machine it is meant for, as `--gpu` takes it.
    """

    name: str
    summary: str
    gpu: str


def read_preset(name: str) -> Preset:
    """A preset's own description.

    Raises:
        ConfigError: If there is none of this name, or its file does not name a machine.
    """
    path = preset_file(name)
    text = path.read_text(encoding="utf-8")
    found = _MACHINE.search(text)
    if found is None:
        raise ConfigError(f"{path} names no machine; add a line such as `# machine: a10:1`")
    return Preset(name, text.partition("\n")[0].removeprefix("# ").strip(), found[1])


def all_presets() -> list[Preset]:
    """Every preset, by name."""
    return [read_preset(name) for name in preset_names()]
