"""What a student trains on: the references, or the teacher's translations in their place."""

from __future__ import annotations

from src.distillation.sequence.targets import open_taught_corpus
from src.schema import Config
from src.training.corpus import Corpus, open_corpus


def training_corpus(config: Config) -> Corpus:
    """The corpus whose train split has the targets that the student's section names.

    Raises:
        DataError: If it has not been made, or was made from something else.
    """
    corpus = open_corpus(config)
    if config.student.learns_from_translations:
        return open_taught_corpus(config, corpus)
    return corpus
