"""The model card: what somebody who finds the folder has to know, and nothing that is not known.

Every statement comes from a file: the training's configuration beside the weights, the report of
the data stage, the scores that `evaluate` wrote for exactly these weights. What is missing is left
out or said to be unknown.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from src.checkpoint.manifest import MANIFEST_NAME, read_manifest
from src.evaluation.trained_model import TrainedModel
from src.languages import LANGUAGES, split_direction
from src.models.hub import adapter_base, is_adapter, model_fingerprint, read_json
from src.schema.model_sizes import find_model_size

logger = logging.getLogger(__name__)

UNKNOWN_LICENSE = "unknown"
# Of the Qwen2.5 sizes known here, one has a licence of its own.
_RESEARCH_ONLY = "Qwen/Qwen2.5-3B"


@dataclass(frozen=True)
class CardFacts:
    """What the card tells.

    Attributes:
        name: Title.
        directions: Such as "en-zh".
        templates: Direction → text around a source.
        prompt: Kind of prompt.
        max_length: Tokens.
        weight_type: Of the exported weights.
        license_id: As the hub writes licences.
        base_model: Name of the model that was tuned, if any is known.
        is_built_anew: Whether the training began with random weights.
        teacher: Name of the teacher of a distilled model.
        data: The section "data" of the training's configuration.
        report: Of the data stage; empty where it is not on this machine.
        scores: Direction → content of scores.json for these weights; may be empty.
        example: Direction → source and translation.
        parameters: Number of weights.
    """

    name: str
    directions: tuple[str, ...]
    templates: Mapping[str, str]
    prompt: str
    max_length: int
    weight_type: str
    license_id: str
    base_model: str | None
    is_built_anew: bool
    teacher: str | None
    data: Mapping[str, Any]
    report: Mapping[str, Any]
    scores: Mapping[str, Mapping[str, Any]]
    example: Mapping[str, tuple[str, str]]
    parameters: int

    @classmethod
    def collect(
        cls,
        trained: TrainedModel,
        *,
        weight_type: str,
        license_id: str | None,
        probes: Mapping[str, Any],
    ) -> CardFacts:
        """Gathers them from the files in and around the model's folder."""
        folder = trained.folder
        config = _read_yaml(folder / "config.yaml")
        base, is_built_anew, teacher = _origin(folder, config)
        groups = probes["directions"]
        return cls(
            name=f"{folder.parent.name} ({', '.join(trained.settings.directions)})",
            directions=trained.settings.directions,
            templates={way: group["template"] for way, group in groups.items()},
            prompt=trained.settings.prompt,
            max_length=trained.settings.max_length,
            weight_type=weight_type,
            license_id=license_id or _license_of(base),
            base_model=base,
            is_built_anew=is_built_anew,
            teacher=teacher,
            data=config.get("data", {}),
            report=_report(folder, config),
            scores=_scores(folder),
            example={
                way: (group["probes"][0]["source"], group["probes"][0]["translation"])
                for way, group in groups.items()
            },
            parameters=sum(int(value.size) for value in trained.model.parameters()),
        )


def model_card(facts: CardFacts) -> str:
    """README.md with the hub's metadata at its head."""
    sections = (_head(facts), _use(facts), _scores_text(facts), _data_text(facts), _rights(facts))
    return f"{_metadata(facts)}\n" + "\n\n".join(sections) + "\n"


def _metadata(facts: CardFacts) -> str:
    languages = dict.fromkeys(code for way in facts.directions for code in split_direction(way))
    content: dict[str, Any] = {
        "language": list(languages),
        "license": facts.license_id,
        "library_name": "transformers",
        "pipeline_tag": "translation",
        "tags": ["translation", "linguabridge"],
    }
    if facts.base_model and not Path(facts.base_model).is_absolute():
        content["base_model"] = facts.base_model
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n"


def _head(facts: CardFacts) -> str:
    pairs = ", ".join(
        f"{LANGUAGES[source].name} to {LANGUAGES[target].name}"
        for source, target in map(split_direction, facts.directions)
    )
    origin = (
        f"tuned from `{facts.base_model}`, "
        if facts.base_model
        else "trained from random weights, "
        if facts.is_built_anew
        else ""
    )
    origin += f"distilled from {facts.teacher}, " if facts.teacher else ""
    return (
        f"# {facts.name}\n\n"
        f"Translates sentences: {pairs}. A Qwen2 model with {facts.parameters:,} parameters in "
        f"{facts.weight_type}, {origin}made with LinguaBridge. It knows sequences of up to "
        f"{facts.max_length} tokens, source and translation together; give it one sentence at a "
        "time."
    )


def _use(facts: CardFacts) -> str:
    first = facts.directions[0]
    source, translation = facts.example[first]
    asked = facts.templates[first].replace("{text}", source)
    rows = "\n".join(
        f"| {way} | `{_escaped(template)}` |" for way, template in facts.templates.items()
    )
    chat = (
        "\n\nThe tokenizer's chat template gives the same, from one user message that holds the "
        "instruction, an empty line and the text."
        if facts.prompt == "chatml"
        else ""
    )
    return (
        "## Use\n\n```python\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'folder = "."  # or the name of this repository\n'
        "tokenizer = AutoTokenizer.from_pretrained(folder)\n"
        "model = AutoModelForCausalLM.from_pretrained(folder)\n"
        f"asked = tokenizer({json.dumps(asked, ensure_ascii=False)}, "
        'return_tensors="pt")\n'
        "answer = model.generate(**asked)[0, asked.input_ids.shape[1] :]\n"
        "print(tokenizer.decode(answer, skip_special_tokens=True))\n"
        f"# {translation}\n```\n\n"
        "`{text}` stands for the sentence. Text from strangers must not contain special tokens: "
        "the tokenizer would read them as such.\n\n"
        f"| direction | prompt |\n|---|---|\n{rows}{chat}\n\n"
        "`probes.json` holds sentences with the ids that greedy search answers with, "
        "`MANIFEST.json` the SHA-256 of every file. `python run.py export --check FOLDER` compares "
        "both."
    )


def _scores_text(facts: CardFacts) -> str:
    if not facts.scores:
        return (
            "## Scores\n\nThese weights were not evaluated before they were exported. "
            "`python run.py evaluate --model FOLDER` does it."
        )
    rows = "\n".join(
        f"| {way} | {values['split']} | {values['n']:,} | {values['bleu']:.2f} | "
        f"{values['chrf']:.2f} | {values['chrf++']:.2f} |"
        for way, values in facts.scores.items()
    )
    signatures = "\n".join(
        f"- {way} {metric}: `{signature}`"
        for way, values in facts.scores.items()
        for metric, signature in values["signatures"].items()
    )
    return (
        "## Scores\n\nOn held-out pairs of the training corpus's own sources, greedy search in "
        "float32 before the export unless stated otherwise.\n\n"
        "| direction | split | pairs | BLEU | chrF | chrF++ |\n|---|---|--:|--:|--:|--:|\n"
        f"{rows}\n\n{signatures}"
    )


def _data_text(facts: CardFacts) -> str:
    sources = [
        str(source.get("name") or Path(str(source.get("path"))).name)
        for source in facts.data.get("sources", ())
        if isinstance(source, Mapping)
    ]
    if not sources:
        return "## Data\n\nThe folder of the model does not say what it was trained on."
    text = f"## Data\n\nSources: {', '.join(f'`{name}`' for name in sources)}."
    if facts.report:
        splits = facts.report.get("splits", {})
        text += (
            f" Of {facts.report['rows_in']:,} pairs read, {facts.report['kept']:,} passed the "
            f"filters; {splits.get('train', 0):,} of them are the training split."
        )
    return text + " Every setting stands in `config.yaml`."


def _rights(facts: CardFacts) -> str:
    if facts.license_id == UNKNOWN_LICENSE:
        stated = "Not stated. Whoever publishes this model has to name one."
    else:
        stated = f"`{facts.license_id}`."
    return (
        f"## Licence and limits\n\n{stated} The licences of the training texts are those of the "
        "sources above.\n\nMachine translations can be fluent and wrong. Do not rely on them where "
        "errors harm people."
    )


def _origin(folder: Path, config: Mapping[str, Any]) -> tuple[str | None, bool, str | None]:
    """Base model, whether it was built anew, and teacher, as the training's configuration says.

    Which section trained it is told by the name of the run's folder.
    """
    run = folder.parent.name
    for name in ("student", "teacher"):
        section = config.get(name) or {}
        if Path(str(section.get("output_dir", ""))).name != run:
            continue
        base = None if section.get("architecture") else section.get("model_name")
        is_distilled = name == "student" and section.get("kd_mode") != "none"
        taught_by = config.get("teacher") or {}
        named = section.get("teacher") or taught_by.get("model_name")
        own = taught_by.get("architecture") and not section.get("teacher")
        teacher = "a larger model of the same run" if own else f"`{named}`"
        return base, bool(section.get("architecture")), teacher if is_distilled else None
    return (adapter_base(folder) if is_adapter(folder) else None), False, None


def _license_of(base: str | None) -> str:
    size = find_model_size(base) if base else None
    if size is None:
        logger.warning(
            "the licence of this model is not known; name one with --license before you publish it"
        )
        return UNKNOWN_LICENSE
    return "other" if size.name == _RESEARCH_ONLY else "apache-2.0"


def _scores(folder: Path) -> dict[str, Any]:
    """What `evaluate` found for these very weights."""
    path = folder.parent / "evaluation" / "scores.json"
    if not path.is_file():
        return {}
    fingerprint = model_fingerprint(str(folder))
    return {
        way: values
        for way, values in read_json(path).items()
        if isinstance(values, dict) and values.get("model_fingerprint") == fingerprint
    }


def _report(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """The data stage's report, if what lies there now is what the model was trained on."""
    data = Path(str((config.get("data") or {}).get("output_dir", "")))
    tokens, path = data / "tokens" / MANIFEST_NAME, data / "report.json"
    if not (path.is_file() and tokens.is_file() and (folder / MANIFEST_NAME).is_file()):
        return {}
    content = read_json(tokens)
    corpus = f"{content.get('text_fingerprint')}/{content.get('tokenizer_fingerprint')}"
    ingredients = read_manifest(folder).facts.get("ingredients")
    if not isinstance(ingredients, Mapping) or ingredients.get("corpus") != corpus:
        return {}
    return read_json(path)


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def _escaped(text: str) -> str:
    return text.replace("\n", "\\n").replace("|", "\\|")
