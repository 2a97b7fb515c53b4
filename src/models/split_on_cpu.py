"""Cut layers on CPUs: the same arithmetic as Paddle's, over gloo.

Paddle's tensor-parallel layers add up on the stream of a GPU, which gloo lacks, and mark what
devices share with an operation that only copies, which has no CPU kernel. Here the layers that need
either are replaced by ones of the same parameters. Training on CPUs is slow; what it is good for is
to try a configuration, and to test everything around the layers, without a GPU.
"""

from __future__ import annotations

from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.distributed.communication.group import Group
from paddle.distributed.fleet.layers.mpu import mp_ops
from paddle.distributed.fleet.layers.mpu.mp_layers import (
    ColumnParallelLinear,
    VocabParallelEmbedding,
)
from paddle.nn import functional as F


def adapt_to_cpu(model: nn.Layer) -> None:
    """Lets a cut model compute where Paddle has no CUDA; does nothing to others."""
    if paddle.device.is_compiled_with_cuda():
        return
    for parent in model.sublayers(include_self=True):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, ColumnParallelLinear):
                setattr(parent, name, _ColumnLinear(layer))
            elif isinstance(layer, VocabParallelEmbedding):
                setattr(parent, name, _Embedding(layer))
            elif hasattr(layer, "model_parallel_group"):
                layer.model_parallel_group = _GlooGroup(layer.model_parallel_group)
                layer.mp_skip_c_identity = True


class _ColumnLinear(nn.Layer):
    """Drop-in for a `ColumnParallelLinear` whose outputs stay apart.

    Args:
        cut: The layer it replaces; its parameters stay the same objects.
    """

    def __init__(self, cut: ColumnParallelLinear) -> None:
        super().__init__()
        self.weight = cut.weight
        self.bias = cut.bias
        self._group = _GlooGroup(cut.model_parallel_group)

    def forward(self, hidden: Tensor) -> Tensor:
        """`[B, T, D]` in, this device's columns out."""
        shared: Tensor = _Shared.apply(hidden, self._group)  # type: ignore[no-untyped-call]
        columns: Tensor = F.linear(shared, self.weight, self.bias)
        return columns


class _Shared(paddle.autograd.PyLayer):
    """Nothing forward; what flows back is the sum over the devices."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, group: _GlooGroup) -> Tensor:
        ctx.group = group
        return hidden.clone()

    @staticmethod
    def backward(ctx: Any, output_grad: Tensor) -> Tensor:
        gradient = output_grad.clone()
        ctx.group.add(gradient)
        return gradient


class _Embedding(nn.Layer):
    """Drop-in for a `VocabParallelEmbedding`.

    Args:
        cut: The layer it replaces; its parameter stays the same object.
    """

    def __init__(self, cut: VocabParallelEmbedding) -> None:
        super().__init__()
        self.weight = cut.weight
        self._group = _GlooGroup(cut.model_parallel_group)
        self._start = cut.vocab_start_index
        self._vocab_size = cut.num_embeddings

    def forward(self, input_ids: Tensor) -> Tensor:
        """Rows `[B, T, D]` of token ids `[B, T]`; a device has zeros for the rows of others."""
        rows = mp_ops._c_lookup_table(
            self.weight, input_ids, start_index=self._start, vocab_size=self._vocab_size
        )
        summed: Tensor = mp_ops._mp_allreduce(rows, group=self._group, skip_c_identity_dynamic=True)
        return summed


class _GlooGroup(Group):
    """A group whose sums are there when the call returns."""

    def __init__(self, group: Group) -> None:
        super().__init__(group.rank, group.id, group.ranks, group.process_group, group.name)
        self._group = group

    def add(self, tensor: Tensor) -> None:
        """The sum over the devices, in the tensor's own memory."""
        paddle.distributed.all_reduce(tensor, group=self._group)

    @property
    def process_group(self) -> Any:
        return self

    def all_reduce_on_calc_stream(self, tensor: Tensor, _kind: Any) -> None:
        """What Paddle's layers ask for; the kind is the sum in all of them."""
        self.add(tensor)
