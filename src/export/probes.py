"""Probes: a few sentences and the very ids that the exported model answers with.

A folder that travels can be damaged, and a library that reads it can compute something else. Sizes
and hashes find the first, probes the second: `probes.json` holds, per direction, how a text is put
to the model and what greedy search gives. This project and `scripts/check_with_transformers.py`
both repeat them; an answer that differs in one id is a failure.

    {"directions": {"en-zh": {"template": "{text}<to_zh>", "probes": [
        {"source": text, "prompt_ids": ids, "output_ids": ids, "ended": bool, "translation": text}
    ]}}}

`ended` says whether the end token follows `output_ids`; if not, the answer was cut, by the limit or
in a loop, and only its beginning is promised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from src.errors import ModelError
from src.evaluation.trained_model import TrainedModel
from src.languages import split_direction
from src.models.hub import read_json
from src.tokens.prompts import Prompt
from src.tokens.tokenizer import Tokenizer

PROBES_FILE = "probes.json"

_LIMIT = 64
_BATCH = 8
_NEUTRAL = ("2029: 1,234.50 (A-Z)", "https://example.com/?id=7")
_SENTENCES = {
    "en": (
        "Monday, March 5, 2029",
        "She paid 1,234.50 US dollars for the ticket.",
        "Where is the nearest hospital?",
        "Click %s to open {name}.",
    ),
    "zh": (
        "2029年3月5日星期一",
        "会议于2031年7月16日下午3:45开始。",
        "最近的医院在哪里？",
        "点击 %s 打开 {name}。",
    ),
}


@dataclass(frozen=True)
class Probe:
    """One sentence and its greedy translation, as text and as ids."""

    source: str
    prompt_ids: list[int]
    output_ids: list[int]
    ended: bool
    translation: str


def make_probes(folder: Path) -> dict[str, Any]:
    """The content of `probes.json` for the model in a folder.

    Raises:
        ModelError: If the folder cannot be used.
    """
    trained = TrainedModel(folder)
    return {
        "directions": {
            direction: {
                "template": template(prompt, trained.tokenizer),
                "probes": [
                    asdict(probe) for probe in _answers(trained, prompt, probe_sentences(direction))
                ],
            }
            for direction, prompt in trained.prompts.items()
        }
    }


def compare_probes(folder: Path) -> tuple[int, list[str]]:
    """Repeats the probes of an exported folder.

    Returns:
        The number of probes, and one line for each that is answered otherwise than when the folder
        was made.

    Raises:
        ModelError: If the folder cannot be used or holds no probes.
    """
    if not (folder / PROBES_FILE).is_file():
        raise ModelError(f"{folder} has no {PROBES_FILE}; it was not made by `run.py export`")
    recorded = read_json(folder / PROBES_FILE).get("directions")
    found = make_probes(folder)["directions"]
    if not isinstance(recorded, Mapping) or set(recorded) != set(found):
        raise ModelError(f"{folder / PROBES_FILE} does not hold the model's {', '.join(found)}")
    count, differences = 0, []
    for direction, group in found.items():
        for old, new in zip(recorded[direction]["probes"], group["probes"], strict=True):
            count += 1
            if old != new:
                differences.append(
                    f"{direction} {new['source']!r}: {new['translation']!r} instead of "
                    f"{old.get('translation')!r}"
                )
    return count, differences


def probe_sentences(direction: str) -> tuple[str, ...]:
    """What a direction is tried with."""
    return (*_SENTENCES.get(split_direction(direction)[0], ()), *_NEUTRAL)


def template(prompt: Prompt, tokenizer: Tokenizer) -> str:
    """The text around a source, with `{text}` in its place, special tokens spelled out."""
    return f"{_spell(prompt.prefix, tokenizer)}{{text}}{_spell(prompt.infix, tokenizer)}"


def _spell(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    special = {index: content for content, index in tokenizer.vocabulary.special_ids.items()}
    return "".join(special.get(index) or tokenizer.decode([index]) for index in ids)


def _answers(trained: TrainedModel, prompt: Prompt, sources: Sequence[str]) -> list[Probe]:
    from src.evaluation.decode import translate_ids
    from src.evaluation.forced import ends_next

    tokenizer = trained.tokenizer
    openings = [prompt.opening(ids) for ids in tokenizer.encode_batch(sources)]
    outputs = translate_ids(
        trained.model,
        openings,
        eos_id=tokenizer.eos_id,
        max_new_tokens=_LIMIT,
        batch_size=_BATCH,
        vocab_size=tokenizer.vocab_size,
    )
    return [
        Probe(
            source,
            opening,
            output,
            ends_next(trained.model, [*opening, *output], tokenizer.eos_id),
            " ".join(tokenizer.decode(output).split()),
        )
        for source, opening, output in zip(sources, openings, outputs, strict=True)
    ]
