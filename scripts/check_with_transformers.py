"""Repeats the probes of an exported model with `transformers`, without LinguaBridge or Paddle.

    python -m venv /tmp/reference && /tmp/reference/bin/pip install torch transformers
    /tmp/reference/bin/python scripts/check_with_transformers.py FOLDER [RESULT.json]

Compares, per probe of FOLDER/probes.json, the ids of the prompt with those that the folder's
tokenizer gives the prompt's text, and the recorded answer with greedy search in float32. Exit code
1 if one id differs. RESULT.json receives what `transformers` found.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch  # type: ignore[import-not-found]
import transformers  # type: ignore[import-not-found]


def main(folder: Path, result_path: Path | None) -> int:
    """Checks one folder."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    content = json.loads((folder / "probes.json").read_text(encoding="utf-8"))
    answers: dict[str, list[dict[str, Any]]] = {}
    differences = 0
    for direction, group in content["directions"].items():
        answers[direction] = []
        for probe in group["probes"]:
            text = group["template"].replace("{text}", probe["source"])
            prompt = tokenizer(text).input_ids
            found = greedy(model, prompt, limit=len(probe["output_ids"]) + 1)
            answers[direction].append({"prompt_ids": prompt, "output_ids": found})
            expected = probe["output_ids"]
            promised = [*expected, tokenizer.eos_token_id] if probe["ended"] else expected
            if prompt != probe["prompt_ids"] or found[: len(promised)] != promised:
                differences += 1
                sys.stderr.write(f"{direction} {probe['source']!r}: {found} not {promised}\n")
    count = sum(map(len, answers.values()))
    sys.stderr.write(
        f"transformers {transformers.__version__}, torch {torch.__version__}: "
        f"{count - differences} of {count} probes answered id by id as recorded\n"
    )
    if result_path is not None:
        versions = {"transformers": transformers.__version__, "torch": torch.__version__}
        result = {"versions": versions, "directions": answers}
        result_path.write_text(json.dumps(result) + "\n", encoding="utf-8")
    return 1 if differences else 0


def greedy(model: Any, prompt: list[int], *, limit: int) -> list[int]:
    """Greedy continuation of `prompt`, at most `limit` ids, the end token included."""
    asked = torch.tensor([prompt])
    with torch.no_grad():
        answer = model.generate(
            asked,
            attention_mask=torch.ones_like(asked),
            do_sample=False,
            max_new_tokens=limit,
        )
    ids: list[int] = answer[0, len(prompt) :].tolist()
    return ids


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None))  # noqa: PLR2004
