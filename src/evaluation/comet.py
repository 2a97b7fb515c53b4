"""COMET, a learned metric, where it is installed and its model lies on this machine.

`unbabel-comet` brings PyTorch and pins that do not agree with PaddleNLP's, so it runs in a process
of its own, whose Python may be that of another environment. Nothing is downloaded: without a model
here, or the encoder that the model names (xlm-roberta-large, most often), the score is left out,
with the reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from src.errors import ConfigError
from src.files import expand_home
from src.schema import EvaluationConfig

# Reads one JSON object on stdin, writes one on its last line of stdout.
_PROGRAM = """
import json, sys

def score(task):
    try:
        from comet import load_from_checkpoint
    except ModuleNotFoundError as error:
        if error.name == "comet":
            return {"is_missing": True}
        raise
    import torch
    model = load_from_checkpoint(task["model"])
    found = model.predict(
        task["rows"], batch_size=task["batch_size"], gpus=int(torch.cuda.is_available()),
        progress_bar=False,
    )
    return {"system": float(found["system_score"])}

try:
    answer = score(json.load(sys.stdin))
except Exception as error:
    answer = {"failure": f"{type(error).__name__}: {error}".strip().splitlines()[0]}
print()
print(json.dumps(answer))
"""
# A checkpoint names an encoder, whose tokenizer and sizes the library would fetch from the hub.
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def comet_score(
    settings: EvaluationConfig,
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[str],
) -> tuple[float | None, str]:
    """The system score of COMET.

    Args:
        settings: Names the model and the Python that has `unbabel-comet`.
        sources: What was translated.
        hypotheses: Translations of it.
        references: Human ones.

    Returns:
        The score and "", or None and why there is none, in one sentence.

    Raises:
        ConfigError: If a model is named that is not there.
    """
    if settings.comet_model is None:
        return None, (
            "COMET is left out: set evaluation.comet_model to the model.ckpt of a COMET model on "
            "this machine"
        )
    path = _checkpoint(expand_home(settings.comet_model))
    rows = [
        {"src": source, "mt": hypothesis, "ref": reference}
        for source, hypothesis, reference in zip(sources, hypotheses, references, strict=True)
    ]
    task = {"model": str(path), "rows": rows, "batch_size": settings.batch_size}
    try:
        result = subprocess.run(
            [settings.comet_python or sys.executable, "-c", _PROGRAM],
            input=json.dumps(task),
            capture_output=True,
            encoding="utf-8",
            check=False,
            env={**os.environ, **_OFFLINE},
        )
    except OSError as error:
        raise ConfigError(
            f"evaluation.comet_python={settings.comet_python} cannot be started: {error.strerror}"
        ) from error
    if result.returncode:
        last = (result.stderr.strip() or f"exit code {result.returncode}").splitlines()[-1]
        return None, f"COMET is left out, it failed: {last}"
    answer = json.loads(result.stdout.strip().splitlines()[-1])
    if "system" in answer:
        return float(answer["system"]), ""
    if "failure" in answer:
        return None, f"COMET is left out, it failed: {answer['failure']}"
    return None, (
        "COMET is left out: `pip install torch unbabel-comet 'setuptools<81'` in an environment "
        "of its own and name its Python in evaluation.comet_python"
    )


def _checkpoint(path: Path) -> Path:
    """The model.ckpt that is meant, by itself or as the folder that COMET downloads."""
    for candidate in (path, path / "model.ckpt", path / "checkpoints" / "model.ckpt"):
        if candidate.is_file():
            return candidate
    raise ConfigError(
        f"evaluation.comet_model={path} has no model.ckpt; name the file or its folder"
    )
