"""The teacher recipe: tune a model on the token cache.

Runs as `python run.py teacher`, as `python -m src.train_teacher`, and as a file under Paddle's
launcher, one process per device:

    python -m paddle.distributed.launch --gpus 0,1,2,3 src/train_teacher.py --config my.yaml
    python -m paddle.distributed.launch --nproc_per_node 2 src/train_teacher.py --config my.yaml
"""

from __future__ import annotations

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file, e.g. by paddle.distributed.launch
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from src.models.factory import Model
    from src.schema import Config
    from src.training.run import LossFunction


def train_teacher(config: Config) -> dict[str, Any]:
    """Tunes the teacher; returns the content of its summary.json.

    Raises:
        LinguaBridgeError: One sentence about what is missing or went wrong.
    """
    from src.models.factory import make_model
    from src.models.hub import start_fingerprint
    from src.models.quantize import require_quantization
    from src.surroundings import open_surroundings
    from src.training.corpus import open_corpus
    from src.training.objective import reference_loss
    from src.training.parallel import join_ranks
    from src.training.precision import require_precision
    from src.training.recipe import finished_summary, train_model

    section = config.teacher
    require_quantization(section, name="teacher")
    require_precision(section, section="teacher")
    corpus = open_corpus(config)
    ingredients = {"corpus": corpus.fingerprint, "model": start_fingerprint(section)}
    summary = finished_summary(section, ingredients)
    if summary is not None:
        return summary
    ranks = join_ranks()

    def build() -> tuple[Model, LossFunction]:
        model = make_model(section, vocab_size=corpus.tokenizer.vocab_size)
        return model, reference_loss(model)

    with open_surroundings(config, section, ranks) as surroundings:
        return train_model(
            config,
            section,
            corpus=corpus,
            build=build,
            ranks=ranks,
            ingredients=ingredients,
            alert=surroundings.alert,
            stop_sources=surroundings.stop_sources,
        )


if __name__ == "__main__":
    from src.cli import main
    from src.launch import leave

    leave(main(["teacher", *sys.argv[1:]]))
