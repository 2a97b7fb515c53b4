"""Refuses ways of spreading a model over devices that the devices at hand do not allow."""

from __future__ import annotations

from src.errors import ConfigError
from src.schema import TrainerConfig
from src.training.parallel import Ranks

_WEIGHTS = 3


def require_devices(section: TrainerConfig, ranks: Ranks) -> None:
    """Checks `sharding` and `tensor_parallel` against this run's ranks, before a model is built.

    Raises:
        ConfigError: Naming the key and what to do.
    """
    for key, value in (
        ("sharding", section.sharding),
        ("tensor_parallel", section.tensor_parallel - 1),
    ):
        if value and ranks.world_size == 1:
            raise ConfigError(
                f"{key}={getattr(section, key)} spreads the model over devices and this run has "
                f"one; start it with `python -m paddle.distributed.launch`, or leave {key} out"
            )
    if section.sharding == _WEIGHTS:
        raise ConfigError(
            "sharding=3 is not available: weights are whole on every device; set sharding=2, and "
            "lora or gradient_checkpointing=true where that is not enough"
        )
    if section.tensor_parallel > 1:
        raise ConfigError(
            f"tensor_parallel={section.tensor_parallel} is not available: every device computes "
            "whole layers; set it to 1, and sharding=2 or lora where a device is too small"
        )
