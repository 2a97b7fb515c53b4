"""Gradients and optimizer state of a model that is cut over devices (`src.models.split`).

A weight that is whole on every device has the same gradient there, because the layers add up what
flows back into what they share; it counts once in the norm. A cut weight has a part of its gradient
on each device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import paddle
from paddle import Tensor

from src.checkpoint.format import HostTensor
from src.models.split import SplitWeights
from src.training.losses import scalar
from src.training.optim import (
    gradient_norm,
    parameter_of,
    scale_gradients,
)


def clip_split_gradients(
    split: SplitWeights, parameters: Mapping[str, Tensor], *, max_norm: float
) -> float:
    """Scales all devices' gradients down together; the norm before, of the whole model's."""
    cut = {name: value for name, value in parameters.items() if name in split.axes}
    whole = {name: value for name, value in parameters.items() if name not in split.axes}
    square = gradient_norm(cut) ** 2 + (0.0 if split.group.rank else gradient_norm(whole) ** 2)
    total = scalar(split.group.add(paddle.to_tensor(np.float64(square))))
    norm = math.sqrt(total) if total >= 0 else math.nan
    if max_norm and math.isfinite(norm) and norm > max_norm:
        scale_gradients(parameters, max_norm / norm)
    return norm


@paddle.no_grad()
def gather_split_state(
    split: SplitWeights, state: Mapping[str, Tensor], *, keeps: bool
) -> dict[str, HostTensor]:
    """The optimizer's state of whole weights in host memory; every device of the group calls it.

    What it keeps for each element of a weight is cut like the weight, the rest is the same on all.

    Args:
        split: How weights are cut.
        state: This device's, as `optimizer_tensors` names it.
        keeps: Whether this device wants it; the others get nothing.
    """
    gathered = {}
    for name in sorted(state):
        whole = split.whole(parameter_of(name), state[name])
        if keeps:
            gathered[name] = HostTensor.from_numpy(whole.numpy())
    return gathered
