"""An exponential moving average of the trained weights (Polyak and Juditsky 1992).

After each step `average ← decay · average + (1 - decay) · weight`, in float32 whatever the weights
are in. The average forgets the noise of single steps, so it is what is evaluated and published;
training itself goes on from the weights.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

import paddle
from paddle import Tensor

from src.checkpoint.format import HostTensor
from src.models.layout import TakePart, set_tensors


class MovingAverage:
    """The average of a model's trainable parameters.

    Attributes:
        tensors: Name in files → float32 average, as it stands in memory.

    Args:
        parameters: Name in files → parameter; the average starts as they are.
        decay: Share of the old average that stays at each step, in (0, 1).
    """

    def __init__(self, parameters: Mapping[str, Tensor], *, decay: float) -> None:
        self._parameters = parameters
        self._decay = decay
        self.tensors: dict[str, Tensor] = {}
        self.restart()

    @paddle.no_grad()
    def restart(self) -> None:
        """Begins anew at the weights as they are now."""
        self.tensors = {
            name: value.astype("float32").clone() for name, value in self._parameters.items()
        }

    @paddle.no_grad()
    def update(self) -> None:
        """Takes in the weights after a step."""
        for name, average in self.tensors.items():
            current = self._parameters[name].astype("float32")
            average.scale_(self._decay).add_(current * (1 - self._decay))

    def restore(
        self,
        arrays: Mapping[str, HostTensor],
        *,
        source: str,
        ignored: Collection[str] = (),
        part: TakePart | None = None,
    ) -> None:
        """Puts back a saved average; see `set_tensors`.

        Raises:
            ModelError: If it belongs to other parameters.
        """
        set_tensors(self.tensors, arrays, source=source, ignored=ignored, part=part)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Puts the average in place of the weights, and the weights back at the end."""
        kept = {name: value.clone() for name, value in self._parameters.items()}
        self._set(self.tensors)
        try:
            yield
        finally:
            self._set(kept)

    @paddle.no_grad()
    def _set(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            paddle.assign(values[name].astype(parameter.dtype), output=parameter)
