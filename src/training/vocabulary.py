"""The columns of the logits that this device computes, and what a loss needs of the others.

With tensor parallelism the vocabulary is cut over devices in equal parts, in the order of their
ranks. A softmax over all of it needs the largest logit and the sum of exponentials of all parts,
which is two numbers per position, instead of the logits themselves (Shoeybi et al., "Megatron-LM",
2019, section 3). Without tensor parallelism the part is the whole and nothing is exchanged.
"""

from __future__ import annotations

from dataclasses import dataclass

import paddle
from paddle import Tensor

from src.models.split import TensorGroup


@dataclass(frozen=True)
class VocabularyPart:
    """A device's share of the vocabulary.

    Attributes:
        size: Its columns.
        group: The devices that share it out; None: this one has all.
    """

    size: int
    group: TensorGroup | None = None

    def highest(self, values: Tensor) -> Tensor:
        """The maximum of each number over the devices."""
        return values if self.group is None else self.group.highest(values)

    def add(self, values: Tensor) -> Tensor:
        """The sum of each number over the devices."""
        return values if self.group is None else self.group.add(values)

    def locate(self, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Where tokens stand among this device's columns.

        Args:
            labels: `[C]`, token ids.

        Returns:
            Columns `[C, 1]`, and 1.0 where the token is among them and 0.0 where the column stands
            for nothing; None: all are.
        """
        columns = labels.unsqueeze(-1)
        if self.group is None:
            return columns, None
        columns = columns - self.group.rank * self.size
        is_here = paddle.logical_and(columns >= 0, columns < self.size)
        return columns.clip(0, self.size - 1), is_here.astype("float32")

    def whole(self, logits: Tensor) -> Tensor:
        """All columns `[C, V]` from this device's part of them."""
        return logits if self.group is None else self.group.join(logits, axis=1)

    def own(self, values: Tensor) -> Tensor:
        """This device's columns of `[C, V]`."""
        if self.group is None:
            return values
        start = self.group.rank * self.size
        return values[:, start : start + self.size].contiguous()
