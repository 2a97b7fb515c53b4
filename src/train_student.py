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
    from src.training.loop import LossFunction


def train_student(config: Config) -> dict[str, Any]:
    """Distils the student; returns the content of its summary.json.

    Raises:
        LinguaBridgeError: One sentence about what is missing or went wrong.
    """
    from src.distillation.online import distillation_loss
    from src.distillation.teacher import find_teacher
    from src.models.factory import make_model
    from src.models.hub import start_fingerprint
    from src.models.quantize import require_quantization
    from src.training.objective import reference_loss
    from src.training.parallel import join_ranks
    from src.training.precision import require_precision
    from src.training.recipe import finished_summary, open_corpus, train_model

    section = config.student
    require_quantization(section, name="student")
    require_precision(section, section="student")
    corpus = open_corpus(config)
    ingredients = {"corpus": corpus.fingerprint, "model": start_fingerprint(section)}
    teacher = None
    if section.kd_mode == "online":
        teacher = find_teacher(config, corpus.tokenizer)
        ingredients["teacher"] = teacher.sha256
    summary = finished_summary(section, ingredients)
    if summary is not None:
        return summary
    ranks = join_ranks()

    def build() -> tuple[Model, LossFunction]:
        model = make_model(section, vocab_size=corpus.tokenizer.vocab_size)
        if teacher is None:
            return model, reference_loss(model)
        return model, distillation_loss(
            model,
            teacher.load(),
            alpha=section.distillation_alpha,
            temperature=section.temperature,
            vocab_size=corpus.tokenizer.vocab_size,
        )

    return train_model(
        config,
        section,
        corpus=corpus,
        build=build,
        ranks=ranks,
        ingredients=ingredients,
    )


if __name__ == "__main__":
    from src.cli import main

    sys.exit(main(["student", *sys.argv[1:]]))
