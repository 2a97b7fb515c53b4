"""The student recipe: distil the tuned teacher into a small model.

Runs like the teacher: `python run.py student`, `python -m src.train_student`, or launched:

    python -m paddle.distributed.launch --gpus 0,1,2,3 src/train_student.py --config my.yaml
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


def train_student(config: Config) -> dict[str, Any]:
    """Distils the student; returns the content of its summary.json.

    Raises:
        LinguaBridgeError: One sentence about what is missing or went wrong.
    """
    from src.distillation.lesson import open_lesson
    from src.models.factory import make_model
    from src.models.hub import start_fingerprint
    from src.models.quantize import require_quantization
    from src.surroundings import open_surroundings
    from src.training.parallel import join_ranks
    from src.training.precision import require_precision
    from src.training.recipe import finished_summary, train_model

    section = config.student
    require_quantization(section, name="student")
    require_precision(section, section="student")
    lesson = open_lesson(config)
    ingredients = {**lesson.ingredients, "model": start_fingerprint(section)}
    summary = finished_summary(section, ingredients)
    if summary is not None:
        return summary
    ranks = join_ranks()

    def build() -> tuple[Model, LossFunction]:
        model = make_model(section, vocab_size=lesson.corpus.tokenizer.vocab_size)
        return model, lesson.loss(model)

    with open_surroundings(config, section, ranks) as surroundings:
        return train_model(
            config,
            section,
            corpus=lesson.corpus,
            build=build,
            ranks=ranks,
            ingredients=ingredients,
            alert=surroundings.alert,
            stop_sources=surroundings.stop_sources,
        )


if __name__ == "__main__":
    from src.cli import main
    from src.launch import leave

    leave(main(["student", *sys.argv[1:]]))
