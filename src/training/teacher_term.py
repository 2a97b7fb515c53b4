"""What a teacher adds to the loss of a chunk of positions, and to its gradient.

A teacher's term shares with the cross-entropy what costs most at 151,936 columns: the search for
the largest logit, its subtraction, and at temperature 1 the exponentials. It gives its gradient in
the parts it naturally has, so that no pass over the columns is made only to scale or to add.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import paddle
from paddle import Tensor

from src.training.vocabulary import Places, VocabularyPart

NOWHERE = -1.0e9
"""A logit whose probability is zero in float32."""


@dataclass(frozen=True)
class StudentChunk:
    """The student's logits of C positions.

    Attributes:
        logits: `[C, V]`, each row less its largest; padding columns hold `NOWHERE`. May be
            overwritten.
        exponentials: Of the logits, `[C, V]`; not to be changed.
        total: Sums of the exponentials over the whole vocabulary, `[C, 1]`.
        vocabulary: Which columns V are.
    """

    logits: Tensor
    exponentials: Tensor
    total: Tensor
    vocabulary: VocabularyPart


@dataclass(frozen=True)
class Pull:
    """A divergence, and its gradient with respect to the logits: `factor · base + entries`.

    Attributes:
        value: The divergence, scaled as it enters the loss, summed over the chunk.
        factor: `[C, 1]`, or one number.
        base: `[C, V]`, may be overwritten; None: the chunk's exponentials. Padding columns hold
            anything.
        entries: Places and what is added there, `[C, K]`.
    """

    value: Tensor
    factor: Tensor | float
    base: Tensor | None
    entries: tuple[Places, Tensor] | None = None

    def mix(self, exponentials: Tensor, factor: Tensor, share: float) -> Tensor:
        """`factor · exponentials + share · gradient`, in the memory of the exponentials."""
        own = self.factor * share
        if self.base is None:
            mixed = exponentials.multiply_(factor + own)
        else:
            addition = self.base.scale_(own) if isinstance(own, float) else self.base.multiply_(own)
            mixed = exponentials.multiply_(factor).add_(addition)
        if self.entries is not None:
            places, amounts = self.entries
            places.add(mixed, share * amounts)
        return mixed


class TeacherTerm(Protocol):
    """The teacher's part of the loss, for the positions of one micro-batch."""

    @property
    def alpha(self) -> float:
        """Share of this part in the loss."""

    @property
    def vocab_size(self) -> int:
        """Ids that teacher and student share; columns behind them are padding."""

    def pull(self, student: StudentChunk, rows: slice) -> Pull:
        """The divergence on a chunk.

        Args:
            student: The student's logits at these positions.
            rows: Which positions.
        """


@dataclass(frozen=True)
class PaddingColumns:
    """Logits behind the shared ids, which a teacher knows nothing of, set aside.

    They have a part in the cross-entropy only. In the chunk they hold `NOWHERE` meanwhile, so that
    every other sum goes over the shared ids.

    Attributes:
        logits: `[C, S]`.
        begin: The first of these columns on this device.
        vocabulary: Which columns there are.
    """

    logits: Tensor
    begin: int
    vocabulary: VocabularyPart

    @classmethod
    def set_aside(
        cls, logits: Tensor, vocabulary: VocabularyPart, vocab_size: int
    ) -> PaddingColumns | None:
        """Takes them out of logits `[C, V]`, in place; None: there are none on any device."""
        if vocabulary.whole_size <= vocab_size:
            return None
        begin = vocabulary.columns_of(vocab_size)
        if begin == vocabulary.size:  # they are on other devices
            return cls(paddle.full([logits.shape[0], 1], NOWHERE), begin, vocabulary)
        own = logits[:, begin:].clone()
        logits[:, begin:] = NOWHERE
        return cls(own, begin, vocabulary)

    def log_total(self, highest: Tensor, total: Tensor) -> Tensor:
        """The logarithm of the sum of exponentials over shared ids and padding, `[C, 1]`.

        Args:
            highest: What was subtracted from the chunk's logits, `[C, 1]`.
            total: Sum of the exponentials of the shared ids, `[C, 1]`.
        """
        peak = self.vocabulary.highest(self.logits)
        sums = self.vocabulary.sum(paddle.exp(self.logits - peak))
        one, other = paddle.log(total), paddle.log(sums) + (peak - highest)
        both: Tensor = paddle.log1p(paddle.exp(-paddle.abs(one - other)))
        return both.add_(paddle.maximum(one, other))

    def write_gradient(
        self, gradient: Tensor, highest: Tensor, log_total: Tensor, share: float
    ) -> None:
        """Puts their part of the gradient `[C, V]` where they stand: of the cross-entropy."""
        if self.begin < self.vocabulary.size:
            values = paddle.exp(self.logits - highest - log_total)
            gradient[:, self.begin :] = values.scale_(share)


def pull_of(term: TeacherTerm, logits: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
    """A term by itself: the divergence and its whole gradient.

    Args:
        term: Of a vocabulary that is not cut over devices.
        logits: The student's at these positions, `[C, V]`; not changed.
        rows: Which positions.
    """
    vocabulary = VocabularyPart(logits.shape[1])
    own = logits.clone()
    padding = PaddingColumns.set_aside(own, vocabulary, term.vocab_size)
    own.subtract_(vocabulary.highest(own))
    exponentials = paddle.exp(own)
    total = vocabulary.sum(exponentials)
    pull = term.pull(StudentChunk(own, exponentials, total, vocabulary), rows)
    gradient = pull.mix(exponentials, paddle.zeros_like(total), 1.0)
    if padding is not None:
        gradient[:, padding.begin :] = 0.0
    return pull.value, gradient
