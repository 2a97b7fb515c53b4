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
class Places:
    """Where K ids per position stand among this device's columns.

    Attributes:
        columns: `[C, K]`.
        is_here: 1.0 where the id is among the columns and 0.0 where the column stands for nothing;
            None: all are.
        group: The devices that the vocabulary is cut over.
    """

    columns: Tensor
    is_here: Tensor | None = None
    group: TensorGroup | None = None

    def read(self, values: Tensor) -> Tensor:
        """What stands there in `[C, V]`, from whichever device has it: `[C, K]`."""
        own = paddle.take_along_axis(values, self.columns, axis=1)
        if self.is_here is None or self.group is None:
            return own
        return self.group.add(own * self.is_here)

    def add(self, buffer: Tensor, amounts: Tensor) -> None:
        """Adds `[C, K]` to what stands there in `[C, V]`, in place; repeats add up."""
        if self.is_here is not None:
            amounts = amounts * self.is_here
        rows = paddle.arange(self.columns.shape[0]).unsqueeze(-1).expand(self.columns.shape)
        buffer.index_put_((rows, self.columns), amounts, accumulate=True)


@dataclass(frozen=True)
class VocabularyPart:
    """A device's share of the vocabulary.

    Attributes:
        size: Its columns.
        group: The devices that share it out; None: this one has all.
    """

    size: int
    group: TensorGroup | None = None

    @property
    def whole_size(self) -> int:
        """The columns of all devices."""
        return self.size if self.group is None else self.size * self.group.degree

    @property
    def _first(self) -> int:
        return 0 if self.group is None else self.size * self.group.rank

    def columns_of(self, vocab_size: int) -> int:
        """How many of this device's columns, from the first, belong to ids below that number."""
        return min(max(vocab_size - self._first, 0), self.size)

    def highest(self, values: Tensor) -> Tensor:
        """The largest of each row of `[C, V]` over all devices' columns, `[C, 1]`."""
        own = values.max(axis=-1, keepdim=True)
        return own if self.group is None else self.group.highest(own)

    def sum(self, values: Tensor) -> Tensor:
        """The sum of each row of `[C, V]` over all devices' columns, `[C, 1]`."""
        own = row_sums(values)
        return own if self.group is None else self.group.add(own)

    def find(self, ids: Tensor) -> Places:
        """Where ids `[C, K]` stand."""
        if self.group is None:
            return Places(ids)
        columns = ids - self._first
        is_here = paddle.logical_and(columns >= 0, columns < self.size)
        return Places(columns.clip(0, self.size - 1), is_here.astype("float32"), self.group)

    def whole(self, logits: Tensor) -> Tensor:
        """All columns `[C, V]` from this device's part of them."""
        return logits if self.group is None else self.group.join(logits, axis=1)

    def own(self, values: Tensor) -> Tensor:
        """This device's columns of `[C, V]`."""
        if self.group is None:
            return values
        return values[:, self._first : self._first + self.size].contiguous()

    def add(self, gradients: Tensor) -> Tensor:
        """The sum of each number over the devices."""
        return gradients if self.group is None else self.group.add(gradients)


def row_sums(values: Tensor) -> Tensor:
    """The sum of each row of `[C, V]`, `[C, 1]`.

    On a CPU by the math library: Paddle's own sum of a row of 151,936 numbers takes four times as
    long and, adding them one after another, is wrong in the fifth digit.
    """
    if not values.place.is_cpu_place():
        sums: Tensor = values.sum(axis=-1, keepdim=True)
        return sums
    return paddle.mv(values, paddle.ones(values.shape[1:], dtype=values.dtype)).unsqueeze(-1)
