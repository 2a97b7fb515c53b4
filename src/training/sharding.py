"""Sharding: each rank keeps the optimizer's state, and more, of a part of the parameters.

Stage 1: gradients are summed over all ranks as without sharding (`src.training.parallel`). Then a
rank updates only the parameters it owns and sends them to the others (Rajbhandari et al., "ZeRO",
2020). With AdamW that leaves 8 bytes (12 with float32 masters) per parameter on one rank instead of
on every one, for one broadcast of the weights per step. Every update is computed by exactly one
rank from the same numbers, so the weights are those of a run without sharding, bit for bit.

Stage 2: in the backward pass every gradient is summed into its owner as soon as it is there, and
the other ranks let theirs go, so that a rank never holds all of them. The norm is a sum over ranks
then, so results differ from those of stage 1 within float32 summation error.

Stage 3 is stage 2, and the weights stay with their owners, too (`src.training.visiting_weights`).

A checkpoint holds the state of all parameters in one file, as without sharding. So a run may go on
with any number of ranks, and with or without sharding.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from functools import partial

import paddle
from paddle import Tensor, distributed

from src.checkpoint.format import HostTensor
from src.errors import ConfigError
from src.models.layout import host_arrays
from src.training.optim import gradient_norm, optimizer_tensors, scale_gradients
from src.training.parallel import Ranks


def assign_owners(sizes: Mapping[str, int], *, ranks: int) -> dict[str, int]:
    """Name → owning rank: the largest first, each to the rank that has least so far."""
    loads = [0] * ranks
    owners = {}
    for name in sorted(sizes, key=lambda each: (-sizes[each], each)):
        owner = loads.index(min(loads))
        owners[name] = owner
        loads[owner] += sizes[name]
    return owners


class OptimizerShards:
    """Who updates which parameter; every method is called by every rank.

    Attributes:
        own: The parameters this rank updates, by their names in files.
        owners: Rank that updates each parameter, by their names in files.
        stage: 1, 2 or 3.

    Args:
        parameters: All trained parameters.
        ranks: This process among its peers.
        stage: 1 shares the optimizer's state out, 2 gradients too, 3 weights too.

    Raises:
        ConfigError: If there are fewer parameters than ranks.
    """

    def __init__(self, parameters: Mapping[str, Tensor], ranks: Ranks, *, stage: int) -> None:
        if len(parameters) < ranks.world_size:
            raise ConfigError(
                f"sharding={stage} cannot share {len(parameters)} trained tensors out over "
                f"{ranks.world_size} devices; set sharding=0"
            )
        sizes = {name: int(value.size) for name, value in parameters.items()}
        self.owners = assign_owners(sizes, ranks=ranks.world_size)
        self._parameters = parameters
        self._ranks = ranks
        self.own = {
            name: value for name, value in parameters.items() if self.owners[name] == ranks.rank
        }
        self.stage = stage
        self._is_alone = True
        if stage > 1:
            for name, value in parameters.items():
                value._register_backward_hook(partial(self._hand_over, name))

    def in_step(self, *, together: bool) -> None:
        """Whether backward passes are those of a step, which all ranks make the same number of.

        Outside of a step (in the dry run) a rank keeps to itself and lets go what it does not own.
        """
        self._is_alone = not together

    @paddle.no_grad()
    def _hand_over(self, name: str, *_: object) -> None:
        """Stage 2 on: a parameter's gradient is there; ends as its sum at the owner only.

        The owner's holds the sums of the passes before, the others' only those of this one.
        """
        parameter = self._parameters[name]
        gradient = parameter.grad
        if gradient is not None and not self._is_alone:
            distributed.reduce(gradient, dst=self.owners[name])
        if name not in self.own:
            parameter.clear_gradient(False)  # noqa: FBT003  Paddle's: do not keep it as zeros

    def clip(self, *, max_norm: float) -> float:
        """Stage 2 on: scales all ranks' gradients down together; the norm of all before."""
        squares = self._ranks.sum([gradient_norm(self.own) ** 2])[0]
        norm = math.sqrt(squares) if squares >= 0 else math.nan
        if max_norm and math.isfinite(norm) and norm > max_norm:
            scale_gradients(self.own, max_norm / norm)
        return norm

    @paddle.no_grad()
    def share_weights(self) -> None:
        """Gives every rank the weights that their owners have updated."""
        for name, parameter in self._parameters.items():
            distributed.broadcast(parameter, src=self.owners[name])

    def gather_state(self, optimizer: paddle.optimizer.Optimizer) -> dict[str, HostTensor]:
        """All ranks' optimizer state in the main rank's host memory; nothing on the others."""
        return self._gather(
            optimizer_tensors(optimizer, self.own),
            lambda _, value: HostTensor.from_numpy(value.numpy()),
        )

    def gather_weights(self, own: Mapping[str, Tensor]) -> dict[str, HostTensor]:
        """Stage 3: all ranks' weights, laid out as in files, like `gather_state`.

        Args:
            own: The weights that this rank keeps, or what belongs to each of them.
        """
        gathered = self._gather(own, lambda name, value: host_arrays({name: value})[name])
        return {name: gathered[name] for name in sorted(gathered)}

    @paddle.no_grad()
    def _gather(
        self, own: Mapping[str, Tensor], to_host: Callable[[str, Tensor], HostTensor]
    ) -> dict[str, HostTensor]:
        """One tensor at a time is on the main rank's device beside its own."""
        gathered: dict[str, HostTensor] = {}
        for owner in range(self._ranks.world_size):
            listing = json.dumps(
                [[name, str(value.dtype), list(value.shape)] for name, value in own.items()]
            )
            for name, dtype, shape in json.loads(self._ranks.share_text(listing, source=owner)):
                if owner == self._ranks.rank:
                    value = _on_device(own[name])
                else:
                    value = paddle.empty(shape, dtype=dtype.removeprefix("paddle."))
                if owner != 0:
                    distributed.broadcast(value, src=owner)
                if self._ranks.is_main:
                    gathered[name] = to_host(name, value)
        return gathered


def _on_device(tensor: Tensor) -> Tensor:
    """Some states live on the CPU beside a GPU, and collectives take one device."""
    if tensor.place.is_cpu_place() and paddle.device.is_compiled_with_cuda():
        return paddle.to_tensor(tensor.numpy())
    return tensor.detach()
