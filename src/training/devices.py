"""Refuses ways of spreading a model over devices that the devices at hand do not allow."""

from __future__ import annotations

import paddle

from src.errors import ConfigError
from src.schema import TrainerConfig
from src.training.parallel import Ranks


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
    if ranks.world_size % section.tensor_parallel:
        raise ConfigError(
            f"tensor_parallel={section.tensor_parallel} does not divide this run's "
            f"{ranks.world_size} devices; choose a number that does, or start more"
        )
    has_replicas = 1 < section.tensor_parallel < ranks.world_size
    if has_replicas and not paddle.device.is_compiled_with_cuda():
        raise ConfigError(
            f"tensor_parallel={section.tensor_parallel} on {ranks.world_size} CPU processes needs "
            "several groups of processes, which Paddle's gloo cannot form; start "
            f"{section.tensor_parallel} processes, or use GPUs"
        )
