"""Tensor parallelism: several devices compute one forward pass together, each with a part of it.

The layers are PaddleNLP's, which cut attention by heads, feed-forward layers by their inner width
and the vocabulary by rows (Shoeybi et al., "Megatron-LM", 2019); norms are whole on every device.
Each cut weight says along which axis it is cut, and that is all this module needs to take parts of
whole tensors and to put parts together again: files hold whole tensors only, so a run may go on
with another number of devices.

Devices of one forward pass have neighbouring ranks; the same parts of different passes ("replicas")
are the peers that gradients are summed over.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import paddle
from numpy.typing import NDArray
from paddle import Tensor, distributed, nn
from paddle.distributed import fleet
from paddle.distributed.communication.group import Group
from paddle.distributed.fleet.utils.log_util import set_log_level
from paddlenlp.transformers import PretrainedConfig

from src.checkpoint.format import HostTensor
from src.errors import ConfigError
from src.models.layout import host_arrays, named_weights


@dataclass(frozen=True)
class TensorGroup:
    """The devices that compute one forward pass together.

    Attributes:
        rank: This device among them.
        degree: Their number.
        group: Paddle's, for collectives.
    """

    rank: int
    degree: int
    group: Group

    def add(self, tensor: Tensor) -> Tensor:
        """The sum over the devices, in the tensor's own memory."""
        distributed.all_reduce(tensor, group=self.group)
        return tensor

    def highest(self, tensor: Tensor) -> Tensor:
        """The maximum over the devices, in the tensor's own memory."""
        distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX, group=self.group)
        return tensor

    def join(self, part: Tensor, *, axis: int) -> Tensor:
        """The devices' parts one after another along an axis."""
        parts: list[Tensor] = []
        distributed.all_gather(parts, part.contiguous(), group=self.group)
        return paddle.concat(parts, axis=axis)


def join_groups(degree: int) -> Group:
    """Sorts the processes into groups of `degree` neighbours; every process calls it.

    Returns:
        The processes that hold the same parts as this one.
    """
    set_log_level("ERROR")  # it tells what was asked for
    strategy = fleet.DistributedStrategy()
    strategy.hybrid_configs = {
        "dp_degree": distributed.get_world_size() // degree,
        "mp_degree": degree,
        "pp_degree": 1,
    }
    # Paddle lists its settings on stderr, once per rank.
    with contextlib.redirect_stderr(io.StringIO()):
        fleet.init(is_collective=True, strategy=strategy, log_level="ERROR")
    return fleet.get_hybrid_communicate_group().get_data_parallel_group()


def split_settings(degree: int) -> dict[str, int]:
    """What PaddleNLP's configuration of a model has to say for its layers to be cut."""
    if degree == 1:
        return {}
    return {
        "tensor_parallel_degree": degree,
        "tensor_parallel_rank": _tensor_group().rank,
    }


def require_divisible(sizes: PretrainedConfig, degree: int) -> None:
    """Refuses a model that cannot be cut into `degree` equal parts.

    Raises:
        ConfigError: Naming what does not divide.
    """
    for name in ("num_attention_heads", "num_key_value_heads", "intermediate_size"):
        size = getattr(sizes, name)
        if size % degree:
            raise ConfigError(
                f"tensor_parallel={degree} does not divide the model's {name}={size}; choose a "
                "number that does, or set tensor_parallel=1 and sharding=3"
            )


@dataclass(frozen=True)
class SplitWeights:
    """How the weights of one model are cut over the devices of a group.

    Attributes:
        group: These devices.
        axes: Name in files → axis in memory along which the weight is cut; whole ones are missing.
        shapes: Name in files → shape of this device's part.
    """

    group: TensorGroup
    axes: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]

    def part(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """This device's part of a whole array in memory layout; others are left as they are.

        Args:
            name: Of the weight it belongs to.
            array: A weight, or an optimizer's value for each of its elements.
        """
        if not self._is_cut(name, array.shape, self.group.degree):
            return array
        axis = self.axes[name]
        size = array.shape[axis] // self.group.degree
        cut = [slice(None)] * array.ndim
        cut[axis] = slice(self.group.rank * size, (self.group.rank + 1) * size)
        return array[tuple(cut)]

    def whole(self, name: str, tensor: Tensor) -> Tensor:
        """The other way round; every device of them calls it."""
        if not self._is_cut(name, tensor.shape, 1):
            return tensor
        return self.group.join(tensor, axis=self.axes[name])

    def devices_of(self, name: str) -> int:
        """How many devices share a weight out; 1 where each has all of it."""
        return self.group.degree if name in self.axes else 1

    @paddle.no_grad()
    def gather(self, tensors: Mapping[str, Tensor], *, keeps: bool) -> dict[str, HostTensor]:
        """Whole weights in host memory, laid out as in files; every device of the group calls it.

        Args:
            tensors: This device's parts, by name in files.
            keeps: Whether this device wants them; the others get nothing.
        """
        gathered: dict[str, HostTensor] = {}
        for name in sorted(tensors):
            whole = self.whole(name, tensors[name])
            if keeps:
                gathered |= host_arrays({name: whole})
        return gathered

    def _is_cut(self, name: str, shape: tuple[int, ...] | list[int], factor: int) -> bool:
        axis = self.axes.get(name)
        if axis is None:
            return False
        expected = list(self.shapes[name])
        expected[axis] *= factor
        return list(shape) == expected


def find_split(model: nn.Layer) -> SplitWeights | None:
    """How a model is cut; None where this device holds all of it."""
    if model.config.tensor_parallel_degree <= 1:
        return None
    named = named_weights(model)
    axes = {name: int(value.split_axis) for name, value in named.items() if value.is_distributed}
    shapes = {name: tuple(value.shape) for name, value in named.items()}
    return SplitWeights(_tensor_group(), axes, shapes)


def vocabulary_group(model: nn.Layer, projection: Tensor) -> TensorGroup | None:
    """The devices that the vocabulary is cut over; None where each has all of it.

    A vocabulary that the devices cannot share out equally stays whole.
    """
    is_cut = model.config.tensor_parallel_degree > 1 and projection.is_distributed
    return _tensor_group() if is_cut else None


def _tensor_group() -> TensorGroup:
    groups = fleet.get_hybrid_communicate_group()
    group = groups.get_model_parallel_group()
    return TensorGroup(groups.get_model_parallel_rank(), group.nranks, group)
