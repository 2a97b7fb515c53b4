"""A real run of the real loop, with a way in for faults."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from paddle import Tensor

from src.models.factory import Model, make_model
from src.models.hub import start_fingerprint
from src.schema import Config
from src.stop_source import StopSource
from src.training.corpus import open_corpus
from src.training.objective import reference_loss
from src.training.parallel import Ranks, join_ranks
from src.training.recipe import train_model
from src.training.run import LossFunction

Fault = Callable[[LossFunction, Model], LossFunction]


class Alerts:
    """Takes alerts and keeps them."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []

    def __call__(self, kind: str, text: str) -> None:
        self.sent.append((kind, text))

    def of(self, kind: str) -> list[str]:
        return [text for sent, text in self.sent if sent == kind]


def train(
    config: Config,
    *,
    fault: Fault = lambda loss, _: loss,
    alert: Callable[[str, str], None] | None = None,
    stop_sources: Sequence[StopSource] = (),
    ranks: Ranks | None = None,
) -> dict[str, Any]:
    """Trains the teacher of a configuration; `fault` wraps its loss."""
    corpus = open_corpus(config)

    def build() -> tuple[Model, LossFunction]:
        model = make_model(config.teacher, vocab_size=corpus.tokenizer.vocab_size)
        return model, fault(reference_loss(model), model)

    return train_model(
        config,
        config.teacher,
        corpus=corpus,
        build=build,
        ranks=ranks or join_ranks(),
        ingredients={"corpus": corpus.fingerprint, "model": start_fingerprint(config.teacher)},
        alert=alert or Alerts(),
        stop_sources=stop_sources,
    )


def step_of(micro_batch: Mapping[str, Tensor]) -> int:
    """Number of the step in the stream, from 0; -1 for the dry run and evaluations."""
    position = micro_batch.get("position")
    return -1 if position is None else int(position.numpy()[0])
