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
class PaddingColumns:
    """Logits behind the shared ids, which a teacher knows nothing of, set aside.

    They have a part in the cross-entropy only. In the chunk they hold `NOWHERE` meanwhile, so that
    every other sum goes over the shared ids.

    Attributes:
        logits: `[C, S]`, less the largest shared logit of the row.
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

    def log_total(self, total: Tensor) -> Tensor:
        """The logarithm of the sum of exponentials over shared ids and padding, `[C, 1]`.

        Args:
            total: Sum of the exponentials of the shared ids, `[C, 1]`.
        """
        peak = self.vocabulary.highest(self.logits)
        sums = self.vocabulary.sum(paddle.exp(self.logits - peak))
        one, other = paddle.log(total), paddle.log(sums) + peak
        both: Tensor = paddle.log1p(paddle.exp(-paddle.abs(one - other)))
        return both.add_(paddle.maximum(one, other))

    def write_gradient(self, gradient: Tensor, log_total: Tensor, share: float) -> None:
        """Puts their part of the gradient `[C, V]` where they stand: of the cross-entropy."""
        if self.begin < self.vocabulary.size:
            values = paddle.exp(self.logits - log_total)
            gradient[:, self.begin :] = values.scale_(share)


@dataclass(frozen=True)
class StudentChunk:
    """The student's logits of C positions.

    Attributes:
        logits: `[C, V]`, each row less its largest; padding columns hold `NOWHERE`. A teacher's
            term may overwrite them.
        exponentials: Of the logits, `[C, V]`; not to be changed by a term.
        total: Sums of the exponentials over all shared ids, `[C, 1]`.
        vocabulary: Which columns V are.
        padding: What else the student has; None: nothing.
    """

    logits: Tensor
    exponentials: Tensor
    total: Tensor
    vocabulary: VocabularyPart
    padding: PaddingColumns | None

    @classmethod
    def prepare(cls, logits: Tensor, vocabulary: VocabularyPart, vocab_size: int) -> StudentChunk:
        """From logits `[C, V]`, which are used up, and the number of ids a teacher shares."""
        padding = PaddingColumns.set_aside(logits, vocabulary, vocab_size)
        highest = vocabulary.highest(logits)
        logits.subtract_(highest)
        if padding is not None:
            padding.logits.subtract_(highest)
        exponentials = paddle.exp(logits)
        return cls(logits, exponentials, vocabulary.sum(exponentials), vocabulary, padding)


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


def pull_of(term: TeacherTerm, logits: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
    """A term by itself: the divergence and its whole gradient.

    Args:
        term: Of a vocabulary that is not cut over devices.
        logits: The student's at these positions, `[C, V]`; not changed.
        rows: Which positions.
    """
    student = StudentChunk.prepare(logits.clone(), VocabularyPart(logits.shape[1]), term.vocab_size)
    pull = term.pull(student, rows)
    gradient = pull.mix(student.exponentials, paddle.zeros_like(student.total), 1.0)
    if student.padding is not None:
        gradient[:, student.padding.begin :] = 0.0
    return pull.value, gradient
