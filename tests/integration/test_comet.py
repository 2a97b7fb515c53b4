"""COMET itself: the library in an environment of its own, with a small model made from nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from src.evaluation.comet import comet_score
from src.schema import EvaluationConfig

# Installing the library takes minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).resolve().parents[2]
# torchmetrics 0.10, which unbabel-comet 2.2 pins, imports pkg_resources.
PACKAGES = ("torch", "unbabel-comet==2.2.7", "setuptools<81")
SOURCES = ["Good morning.", "Where is the station?", "It costs 3.5 dollars."]
HYPOTHESES = ["早上好。", "车站在哪里？", "价格是3.5美元。"]
REFERENCES = ["早上好。", "火车站在哪儿？", "它要3.5美元。"]
# A checkpoint as published ones are: <model>/hparams.yaml, <model>/checkpoints/model.ckpt, and the
# encoder's tokenizer and sizes elsewhere. Prints what the model says of each row by itself.
MAKE_MODEL = """
import json, sys
from pathlib import Path
import pytorch_lightning, torch, yaml
from comet.models import RegressionMetric
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import XLMRobertaConfig, XLMRobertaTokenizerFast

folder, rows = Path(sys.argv[1]), json.loads(sys.argv[2])
torch.manual_seed(0)
special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
tokenizer = Tokenizer(models.Unigram())
tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
tokenizer.train_from_iterator(
    [text for row in rows for text in row.values()],
    trainers.UnigramTrainer(vocab_size=120, special_tokens=special, unk_token="<unk>"),
)
tokenizer.post_processor = processors.TemplateProcessing(
    single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
    special_tokens=[("<s>", 0), ("</s>", 2)],
)
encoder = folder / "encoder"
XLMRobertaTokenizerFast(tokenizer_object=tokenizer).save_pretrained(encoder)
XLMRobertaConfig(
    vocab_size=tokenizer.get_vocab_size(), hidden_size=16, num_hidden_layers=2,
    num_attention_heads=2, intermediate_size=32, max_position_embeddings=130,
).save_pretrained(encoder)
settings = {"pretrained_model": str(encoder), "hidden_sizes": [8], "class_identifier":
            "regression_metric"}
model = RegressionMetric(
    **{key: value for key, value in settings.items() if key != "class_identifier"},
    load_pretrained_weights=False,
)
(folder / "comet" / "checkpoints").mkdir(parents=True)
(folder / "comet" / "hparams.yaml").write_text(yaml.safe_dump(settings))
trainer = pytorch_lightning.Trainer(logger=False, enable_progress_bar=False, accelerator="cpu")
trainer.strategy.connect(model)
trainer.save_checkpoint(folder / "comet" / "checkpoints" / "model.ckpt")
model.eval()
with torch.no_grad():
    scores = [
        model(**model.prepare_sample([row], stage="predict")).score.item() for row in rows
    ]
print(json.dumps(scores))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The Python of an environment that has COMET; LINGUABRIDGE_COMET_PYTHON may name one."""
    if given := os.environ.get("LINGUABRIDGE_COMET_PYTHON"):
        return given
    environment = tmp_path_factory.mktemp("comet") / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    installed = subprocess.run(
        [python, "-m", "pip", "install", "-q", *PACKAGES],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if installed.returncode:
        pytest.skip(f"COMET cannot be installed here: {installed.stderr.splitlines()[-1]}")
    return str(python)


@pytest.fixture(scope="module")
def model(python, tmp_path_factory):
    """A model folder, and what it says of each row."""
    folder = tmp_path_factory.mktemp("model")
    rows = [
        {"src": source, "mt": hypothesis, "ref": reference}
        for source, hypothesis, reference in zip(SOURCES, HYPOTHESES, REFERENCES, strict=True)
    ]
    made = subprocess.run(
        [python, "-c", MAKE_MODEL, folder, json.dumps(rows)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return folder, json.loads(made.stdout.splitlines()[-1])


def ask(python, folder):
    settings = EvaluationConfig(comet_model=str(folder / "comet"), comet_python=python)
    return comet_score(settings, SOURCES, HYPOTHESES, REFERENCES)


def test_the_library_scores_as_its_model_does_row_by_row(python, model):
    folder, scores = model
    found, why_not = ask(python, folder)
    assert why_not == ""
    assert found == pytest.approx(sum(scores) / len(scores), abs=1e-5)


def test_the_command_prints_the_score(python, model, tmp_path):
    folder, scores = model
    for name, lines in (("src", SOURCES), ("hyp", HYPOTHESES), ("ref", REFERENCES)):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "run.py", "evaluate", "--hyp", tmp_path / "hyp", "--ref",
         tmp_path / "ref", "--src", tmp_path / "src", "--json",
         f"evaluation.comet_model={folder / 'comet'}", f"evaluation.comet_python={python}"],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["comet"] == pytest.approx(sum(scores) / len(scores), abs=1e-5)
    assert found["comet_missing"] is None


def test_an_encoder_that_is_not_here_is_not_fetched_but_told(python, model):
    folder, _ = model
    (folder / "encoder").rename(folder / "elsewhere")
    try:
        found, why_not = ask(python, folder)
    finally:
        (folder / "elsewhere").rename(folder / "encoder")
    assert found is None
    assert why_not.startswith("COMET is left out, it failed: ")
    assert str(folder / "encoder") in why_not
