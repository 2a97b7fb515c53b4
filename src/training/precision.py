"""Number formats: float32 on CPU, mixed precision on a GPU.

float16 needs its loss scaled up, or small gradients become zero; bfloat16 has float32's range and
does not. Level O1 casts listed operations; O2 keeps the weights in low precision with float32
master copies in the optimizer.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import paddle
from paddle import Tensor

from src.errors import ConfigError
from src.models.factory import FloatType, Model
from src.schema import TrainerConfig

_FIRST_LOSS_SCALE = 2.0**15
_AMPERE = 8


class Precision:
    """How forward, backward and update run in the configured format.

    Attributes:
        dtype: "float32", "float16" or "bfloat16".
    """

    def __init__(self, config: TrainerConfig) -> None:
        self.dtype: FloatType = (
            "float16" if config.fp16 else "bfloat16" if config.bf16 else "float32"
        )
        self._level = config.fp16_opt_level
        # Frozen weights are read in the low precision, and adapters made in it.
        self._is_cast = config.lora is not None
        self._scaler = (
            paddle.amp.GradScaler(init_loss_scaling=_FIRST_LOSS_SCALE) if config.fp16 else None
        )

    def prepare(self, model: Model, optimizer: paddle.optimizer.Optimizer) -> None:
        """Casts the weights for O2; nothing otherwise."""
        if self.dtype != "float32" and self._level == "O2" and not self._is_cast:
            paddle.amp.decorate(
                models=model,
                optimizers=optimizer,
                level="O2",
                dtype=self.dtype,
                master_weight=True,
            )

    def autocast(self) -> AbstractContextManager[Any]:
        """Around every forward pass."""
        if self.dtype == "float32":
            return nullcontext()
        context: AbstractContextManager[Any] = paddle.amp.auto_cast(
            level=self._level, dtype=self.dtype
        )
        return context

    def backward(self, loss: Tensor) -> None:
        """Backward pass of the loss, scaled where the format needs it."""
        (loss if self._scaler is None else self._scaler.scale(loss)).backward()

    def unscale(self, optimizer: paddle.optimizer.Optimizer) -> None:
        """Gives gradients their true size again; before they are measured or clipped."""
        if self._scaler is not None:
            self._scaler.unscale_(optimizer)

    def step(self, optimizer: paddle.optimizer.Optimizer) -> None:
        """Updates the weights; the scaler leaves out steps whose gradients overflowed."""
        if self._scaler is None:
            optimizer.step()
        else:
            self._scaler.step(optimizer)
            self._scaler.update()

    def skip(self) -> None:
        """A step was not taken: the scaler learns of the overflow."""
        if self._scaler is not None:
            self._scaler.update()

    @property
    def loss_scale(self) -> float:
        """What gradients are too large by before `unscale`."""
        return 1.0 if self._scaler is None else _number(self._scaler.state_dict()["scale"])

    @property
    def may_overflow(self) -> bool:
        """Whether overflowing gradients only mean that the loss is scaled up too much."""
        return self._scaler is not None and self.loss_scale > 1.0

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold."""
        if self._scaler is None:
            return {}
        return {key: _number(value) for key, value in self._scaler.state_dict().items()}

    def restore(self, state: Any) -> None:
        """Puts back what `state` gave."""
        if self._scaler is not None and state:
            self._scaler.load_state_dict(state)


def require_precision(config: TrainerConfig, *, section: str) -> None:
    """Refuses a number format that this machine's devices do not have.

    Raises:
        ConfigError: Naming the key and the device.
    """
    chosen = next((key for key in ("fp16", "bf16") if getattr(config, key)), None)
    if chosen is None:
        return
    if not paddle.device.is_compiled_with_cuda() or paddle.device.cuda.device_count() == 0:
        raise ConfigError(
            f"{section}.{chosen}=true needs a GPU and this machine has none that Paddle can use; "
            f"on a CPU set {section}.{chosen}=false"
        )
    major, minor = paddle.device.cuda.get_device_capability()
    if chosen == "bf16" and major < _AMPERE:
        raise ConfigError(
            f"{section}.bf16=true needs a GPU of compute capability 8.0 or newer, this one has "
            f"{major}.{minor}; set {section}.bf16=false and {section}.fp16=true"
        )


def _number(value: Any) -> float:
    return float(value.item()) if hasattr(value, "item") else float(value)
