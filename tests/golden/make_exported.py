"""Makes the small exported model of this folder; `transformers` then says what it computes with it.

    .venv/bin/python -m tests.golden.make_exported
    python -m venv /tmp/reference && /tmp/reference/bin/pip install torch transformers
    /tmp/reference/bin/python scripts/check_with_transformers.py \\
        tests/golden/exported tests/golden/exported_transformers.json

The first command trains a model on a few sentences, so that its answers end, and exports it to
`exported/`; the last one compares and writes the ids that `transformers` gives. The test suite
compares ours with them, without `transformers`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from src.export.folder import export_model
from src.export.probes import probe_sentences
from src.models.factory import Model, build_model
from src.schema import ArchitectureConfig
from src.tokens.prompts import build_prompts
from src.tokens.tokenizer import Tokenizer, train_tokenizer
from tests.fakes.small_translator import learn_by_heart, write_translator

FOLDER = Path(__file__).resolve().parent / "exported"
DIRECTIONS = ("en-zh", "zh-en")
MAX_SEQ_LENGTH = 96
STEPS = 250


def learn(model: Model, tokenizer: Tokenizer) -> None:
    """Fits the model to the probes, each the translation of its neighbour in the other language."""
    prompts = build_prompts("compact", tokenizer, DIRECTIONS)
    sentences = [probe_sentences(direction) for direction in DIRECTIONS]
    rows = []
    for prompt, sources, targets in zip(prompts, sentences, sentences[::-1], strict=True):
        pairs = zip(tokenizer.encode_batch(sources), tokenizer.encode_batch(targets), strict=True)
        rows += [(prompt.opening(source), [*target, tokenizer.eos_id]) for source, target in pairs]
    learn_by_heart(model, rows, pad_id=tokenizer.pad_id, steps=STEPS, learning_rate=4e-3)


def make(folder: Path) -> None:
    """Trains the model and exports it."""
    texts = [text for direction in DIRECTIONS for text in probe_sentences(direction)]
    tokenizer = train_tokenizer(iter(texts * 3), vocab_size=320)
    architecture = ArchitectureConfig(
        hidden_size=32,
        num_hidden_layers=2,
        intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    model = build_model(architecture, vocab_size=tokenizer.vocab_size + 8, seed=1)
    learn(model, tokenizer)
    with tempfile.TemporaryDirectory() as temporary:
        trained = Path(temporary) / "tiny" / "final"
        write_translator(
            trained,
            model,
            tokenizer,
            directions=DIRECTIONS,
            max_seq_length=MAX_SEQ_LENGTH,
            step=STEPS,
        )
        export_model(str(trained), folder, license_id="apache-2.0")


if __name__ == "__main__":
    make(FOLDER)
