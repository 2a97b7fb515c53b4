"""Optimizer, learning rate and gradient clipping.

The learning rate is a pure function of the step, so there is no scheduler state to save. Optimizer
state is named after the model's parameters in files, never after Paddle's counters, which depend on
what else the process has created.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import paddle
from paddle import Tensor

from src.checkpoint.format import HostTensor
from src.errors import CheckpointError
from src.models.layout import TakePart
from src.schema import TrainerConfig
from src.training.losses import scalar

_SEPARATOR = "//"
_MASTER_NAME = "fp32_master_0"  # Paddle's, for a parameter's first master copy


def learning_rate_at(config: TrainerConfig, *, total_steps: int) -> Callable[[int], float]:
    """The learning rate as a function of the step, counted from 0.

    Linear warm-up reaches the peak at step `warmup`; after it a cosine or a line falls to `min_lr`
    at the last step, or the peak stays.
    """
    peak, floor = config.learning_rate, config.min_lr
    warmup = warmup_steps(config, total_steps=total_steps)
    decay_steps = max(1, total_steps - 1 - warmup)

    def at(step: int) -> float:
        if step < warmup:
            return peak * (step + 1) / (warmup + 1)
        done = min(1.0, (step - warmup) / decay_steps)
        if config.lr_scheduler == "constant":
            return peak
        if config.lr_scheduler == "linear":
            return peak + (floor - peak) * done
        return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * done))

    return at


def warmup_steps(config: TrainerConfig, *, total_steps: int) -> int:
    """Warm-up in steps, whichever of the two keys states it."""
    if config.warmup_ratio is not None:
        return round(config.warmup_ratio * total_steps)
    return min(config.warmup_steps or 0, total_steps)


def build_optimizer(
    config: TrainerConfig, parameters: Mapping[str, Tensor]
) -> paddle.optimizer.Optimizer:
    """The configured update rule over the parameters; weight decay spares norms and biases.

    In adamw and lamb the decay is decoupled from the gradient, in the others it is part of it.
    """
    every = list(parameters.values())
    rate, decay = config.learning_rate, config.weight_decay
    betas: dict[str, Any] = {"beta1": config.adam_beta1, "beta2": config.adam_beta2}
    masters: dict[str, Any] = {"multi_precision": config.fp16_opt_level == "O2"}
    if config.optimizer == "adamw":
        decayed = {value.name for value in every if _is_decayed(value)}
        return paddle.optimizer.AdamW(
            learning_rate=rate,
            parameters=every,
            weight_decay=decay,
            apply_decay_param_fun=lambda name: name in decayed,
            **betas,
            **masters,
        )
    if config.optimizer == "lamb":
        return paddle.optimizer.Lamb(
            learning_rate=rate,
            parameters=every,
            lamb_weight_decay=decay,
            exclude_from_weight_decay_fn=lambda value: not _is_decayed(value),
            **betas,
            **masters,
        )
    rules: dict[str, tuple[type[paddle.optimizer.Optimizer], dict[str, Any]]] = {
        "adam": (paddle.optimizer.Adam, {**betas, **masters}),
        "adamax": (paddle.optimizer.Adamax, betas),
        "nadam": (paddle.optimizer.NAdam, betas),
        "radam": (paddle.optimizer.RAdam, betas),
        "rmsprop": (paddle.optimizer.RMSProp, {"rho": config.adam_beta2}),
        "adagrad": (paddle.optimizer.Adagrad, {}),
        "momentum": (paddle.optimizer.Momentum, {"momentum": config.adam_beta1, **masters}),
        "sgd": (paddle.optimizer.SGD, masters),
    }
    rule, options = rules[config.optimizer]
    return rule(learning_rate=rate, parameters=_decay_groups(every, decay), **options)


def _is_decayed(parameter: Tensor) -> bool:
    """Matrices are; vectors are norms and biases."""
    return parameter.ndim > 1


def _decay_groups(parameters: list[Tensor], decay: float) -> list[dict[str, Any]]:
    """Paddle's parameter groups: those with weight decay, and those without."""
    matrices = [value for value in parameters if _is_decayed(value)]
    vectors = [value for value in parameters if not _is_decayed(value)]
    groups = ((matrices, decay), (vectors, 0.0))
    return [{"params": group, "weight_decay": rate} for group, rate in groups if group]


def clip_gradients(parameters: Mapping[str, Tensor], *, max_norm: float) -> float:
    """Scales all gradients down together when their global L2 norm exceeds `max_norm`.

    Args:
        parameters: Parameters with gradients; those without are passed over.
        max_norm: 0 measures without clipping.

    Returns:
        The norm before clipping; not finite when a gradient is not.
    """
    norm = gradient_norm(parameters)
    if max_norm and math.isfinite(norm) and norm > max_norm:
        scale_gradients(parameters, max_norm / norm)
    return norm


@paddle.no_grad()
def scale_gradients(parameters: Mapping[str, Tensor], factor: float) -> None:
    """Multiplies the gradients that are there."""
    for gradient in _gradients(parameters):
        gradient.scale_(factor)


@paddle.no_grad()
def gradient_norm(parameters: Mapping[str, Tensor]) -> float:
    """Global L2 norm of the gradients that are there; not finite when one of them is not."""
    # One kernel and no copy for each, as Paddle's own clipping has it.
    squares = [
        paddle._C_ops.squared_l2_norm(gradient.astype("float32"))
        for gradient in _gradients(parameters)
    ]
    return math.sqrt(scalar(paddle.add_n(squares).sum())) if squares else 0.0


def _gradients(parameters: Mapping[str, Tensor]) -> list[Tensor]:
    return [value.grad for value in parameters.values() if value.grad is not None]


def optimizer_tensors(
    optimizer: paddle.optimizer.Optimizer, parameters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The optimizer's state as it is, named `parameter//slot`; not copied."""
    state = dict(optimizer.state_dict())
    masters = state.pop("master_weights", {})
    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        prefix = f"{parameter.name}_"
        slots = {key: value for key, value in state.items() if key.startswith(prefix)}
        for key, value in slots.items():
            tensors[f"{name}{_SEPARATOR}{key.removeprefix(prefix)}"] = value
        if parameter.name in masters:
            tensors[f"{name}{_SEPARATOR}master"] = masters[parameter.name]
    return tensors


def parameter_of(state_name: str) -> str:
    """The parameter that a name `parameter//slot` belongs to."""
    return state_name.partition(_SEPARATOR)[0]


def restore_optimizer(
    optimizer: paddle.optimizer.Optimizer,
    parameters: Mapping[str, Tensor],
    arrays: Mapping[str, HostTensor],
    own: Mapping[str, Tensor] | None = None,
    part: TakePart | None = None,
) -> None:
    """Puts saved state back.

    Args:
        optimizer: Updates the parameters in `own`.
        parameters: All that are trained, by their names in files.
        arrays: The saved state of all of them.
        own: Those whose state this rank keeps. None: all.
        part: Takes this rank's part of a parameter's array. None: it keeps whole ones.

    Raises:
        CheckpointError: If the state belongs to other parameters.
    """
    state: dict[str, object] = {}
    masters: dict[str, Tensor] = {}
    for full_name, tensor in arrays.items():
        name, _, slot = full_name.partition(_SEPARATOR)
        if name not in parameters:
            raise CheckpointError(
                f"the optimizer state names {name}, which this model does not train; "
                "resume with the model and settings the checkpoint was made with"
            )
        if own is not None and name not in own:
            continue
        parameter = parameters[name]
        array = tensor.data.reshape(tensor.shape)
        if part is not None:
            array = part(name, array)
        value = paddle.to_tensor(np.ascontiguousarray(array))
        if slot == "master":
            # The state of a master copy is looked up under the copy's name.
            value.name = f"{parameter.name}_{_MASTER_NAME}"
            masters[parameter.name] = value
        else:
            value.name = f"{parameter.name}_{slot}"
            state[value.name] = value
    if masters:
        state["master_weights"] = masters
    optimizer.set_state_dict(state)
