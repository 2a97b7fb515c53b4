"""What a student learns from, for each `kd_mode`: the corpus, and the loss on a micro-batch.

| kd_mode | targets | the teacher's term |
|---|---|---|
| online | as kd_targets says | the frozen teacher, computed beside the student |
| cached | as kd_targets says | stored distributions that come with every micro-batch |
| sequence | the teacher's translations | none |
| none | references | none |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from src.distillation.corpus import training_corpus
from src.distillation.online import distillation_loss
from src.distillation.soft_labels.read import open_soft_labels
from src.distillation.stored import cached_loss
from src.distillation.teacher import find_teacher
from src.models.factory import Model
from src.schema import Config
from src.training.corpus import Corpus
from src.training.objective import reference_loss
from src.training.run import LossFunction


@dataclass(frozen=True)
class Lesson:
    """What a student learns from.

    Attributes:
        corpus: Its pairs, with the records of soft labels where these are used.
        ingredients: Names and hashes of all of it; a run made from others is not continued.
        loss: From the student to its loss on one micro-batch; loads the teacher where it is needed.
    """

    corpus: Corpus
    ingredients: Mapping[str, str]
    loss: Callable[[Model], LossFunction]


def open_lesson(config: Config) -> Lesson:
    """Opens and checks everything that the student's section names, and loads no model yet.

    Raises:
        LinguaBridgeError: One sentence about what is missing or does not fit.
    """
    section = config.student
    corpus = training_corpus(config)
    ingredients = {"corpus": corpus.fingerprint}
    vocab_size = corpus.tokenizer.vocab_size
    if section.kd_mode == "online":
        teacher = find_teacher(config, corpus.tokenizer)

        def online(student: Model) -> LossFunction:
            return distillation_loss(student, teacher.load(), section, vocab_size=vocab_size)

        return Lesson(corpus, ingredients | {"teacher": teacher.sha256}, online)
    if section.kd_mode == "cached":
        labels = open_soft_labels(config, corpus)

        def cached(student: Model) -> LossFunction:
            return cached_loss(student, labels.layout, section)

        recorded = replace(corpus, cache=corpus.cache.with_records(train=labels))
        return Lesson(recorded, ingredients | {"soft_labels": labels.fingerprint}, cached)
    return Lesson(corpus, ingredients, reference_loss)
