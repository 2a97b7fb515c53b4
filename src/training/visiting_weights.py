"""Sharding stage 3: a rank holds the weights it updates; the others come when a layer needs them.

Before a decoder layer computes, forward or backward, every rank that lacks one of its weights gets
it from the owner, and lets it go when the layer has been computed (Rajbhandari et al., "ZeRO",
2020, stage 3). So a rank holds its own share of the model and one layer beside it. What belongs to
no layer (embeddings, last norm, output projection) comes with the first layer and stays to the end
of the pass. An owner is never without its weights, so optimizer, average and files are those of
stage 2, and so are the losses, bit for bit.

Nothing is computed here: a weight is the same parameter object with and without its numbers, and
what autograd has kept of it sees them when they are back. The hooks run in the order of the layers,
which is the same on all ranks: that is what lets them exchange without asking each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import paddle
from paddle import Tensor, distributed, nn

from src.models.factory import Model, decoder_layers
from src.models.layout import named_weights
from src.training.parallel import Ranks


class VisitingWeights:
    """Fetches and lets go a model's weights around its layers, by hooks on them.

    Args:
        model: Whole on every rank; from here on each keeps its own weights only.
        owners: Rank that keeps each weight, by name in files; trained ones and frozen ones.
        ranks: This process among its peers.
    """

    def __init__(self, model: Model, owners: Mapping[str, int], ranks: Ranks) -> None:
        base, layers = decoder_layers(model)
        named = named_weights(model)
        self._rank = ranks.rank
        self._owners = {id(value): owners[name] for name, value in named.items()}
        self._groups: list[list[Tensor]] = [list(layer.parameters()) for layer in layers]
        in_layers = {id(value) for group in self._groups for value in group}
        self._outer = len(layers)
        self._groups.append([value for value in named.values() if id(value) not in in_layers])
        self._present = set(range(len(self._groups)))
        self._in_backward: int | None = None
        self._watch(base, self._outer)
        for number, layer in enumerate(layers):
            self._watch(layer, number)
            layer.register_forward_post_hook(partial(self._leave, number))  # type: ignore[arg-type]
        self.let_go()

    def let_go(self) -> None:
        """Ends a pass: only the rank's own weights stay."""
        for group in sorted(self._present):
            self._release(group)
        self._in_backward = None

    def _watch(self, layer: nn.Layer, group: int) -> None:
        # Paddle's types want a hook that returns other inputs; it takes None for the same ones.
        layer.register_forward_pre_hook(partial(self._enter, group))  # type: ignore[arg-type]

    def _enter(self, group: int, _layer: nn.Layer, _inputs: Sequence[object]) -> None:
        self._fetch(group)

    def _leave(
        self, group: int, _layer: nn.Layer, _inputs: Sequence[object], output: object
    ) -> None:
        """A layer has been computed forward."""
        hidden = output[0] if isinstance(output, tuple) else output
        if not isinstance(hidden, Tensor) or hidden.stop_gradient:
            self._release(group)
        elif group != self._in_backward:  # else it is computed again for its backward pass
            hidden.register_hook(partial(self._before_backward, group))
            if group != self._outer - 1:  # the last layer's backward pass comes next
                self._release(group)

    def _before_backward(self, group: int, _gradient: Tensor) -> None:
        """The gradient of a layer's output is there, so the layers behind it are done."""
        for other in sorted(self._present - {group, self._outer}):
            self._release(other)
        self._fetch(group)
        self._in_backward = group

    @paddle.no_grad()
    def _fetch(self, group: int) -> None:
        if group in self._present:
            return
        for parameter in self._groups[group]:
            owner = self._owners[id(parameter)]
            if owner == self._rank:
                distributed.broadcast(parameter, src=owner)
            else:
                visitor = paddle.empty(parameter.shape, dtype=parameter.dtype)
                distributed.broadcast(visitor, src=owner)
                visitor._share_buffer_to(parameter)
        self._present.add(group)

    def _release(self, group: int) -> None:
        for parameter in self._groups[group]:
            if self._owners[id(parameter)] != self._rank:
                parameter._clear_data()
        self._present.discard(group)
