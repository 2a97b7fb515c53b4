"""A model with what training adds to it: optimizer state, number format, moving average."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import paddle
from paddle import Tensor

from src.checkpoint.format import HostTensor
from src.models.borders import prepare_for_borders
from src.models.factory import Model, trainable_parameters
from src.models.layout import host_arrays, named_weights, set_tensors
from src.models.split import SplitWeights, find_split
from src.schema import TrainerConfig
from src.training.ema import MovingAverage
from src.training.optim import (
    build_optimizer,
    clip_gradients,
    optimizer_tensors,
    restore_optimizer,
)
from src.training.parallel import ALONE, Ranks
from src.training.precision import Precision
from src.training.sharding import OptimizerShards, assign_owners
from src.training.split_state import clip_split_gradients, gather_split_state
from src.training.visiting_weights import VisitingWeights

_WEIGHTS = 3


@dataclass(frozen=True)
class Trainable:
    """What is trained and what trains it; all of it is state that a checkpoint holds.

    Attributes:
        model: PaddleNLP's model.
        parameters: Its trainable parameters by their names in files: all of them, or adapters.
        optimizer: Updates them.
        precision: Number format of forward, backward and update.
        average: Their moving average; None when it is off.
        shards: Who updates which parameter; None where every rank updates all.
        visits: Fetches weights that other ranks keep (sharding stage 3); None where all are here.
        split: How weights are cut over devices; None where they are whole.
        ranks: This process among its peers.
    """

    model: Model
    parameters: Mapping[str, Tensor]
    optimizer: paddle.optimizer.Optimizer
    precision: Precision
    average: MovingAverage | None
    shards: OptimizerShards | None = None
    visits: VisitingWeights | None = None
    split: SplitWeights | None = None
    ranks: Ranks = ALONE

    @property
    def kept(self) -> Mapping[str, Tensor]:
        """The trained parameters that this rank always holds: all of them up to stage 2."""
        if self.shards is None or self.visits is None:
            return self.parameters
        return self.shards.own

    @property
    def published(self) -> Mapping[str, Tensor]:
        """What evaluation, `best` and `final` get: the average where there is one."""
        return self.kept if self.average is None else self.average.tensors

    @property
    def has_whole_weights(self) -> bool:
        """Whether this rank holds all weights, so that it can save them by itself."""
        return self.visits is None and self.split is None

    @property
    def exchanges_in_passes(self) -> bool:
        """Whether ranks exchange something within forward or backward passes."""
        return self.split is not None or (self.shards is not None and self.shards.stage > 1)

    @property
    def fetches_in_passes(self) -> bool:
        """Whether even a pass outside of a step exchanges something."""
        return self.split is not None or self.visits is not None

    def count_parameters(self) -> int:
        """Numbers that are trained, over all ranks."""
        split = self.split
        return sum(
            int(value.size) * (1 if split is None else split.devices_of(name))
            for name, value in self.parameters.items()
        )

    def state_tensors(self) -> list[Tensor]:
        """Weights and average, which must be equal on every rank; none where one rank owns each."""
        if self.visits is not None:
            return []
        averages = [] if self.average is None else list(self.average.tensors.values())
        return [*self.parameters.values(), *averages]

    @contextmanager
    def as_published(self) -> Iterator[None]:
        """Within it the model computes with the published weights."""
        with nullcontext() if self.average is None else self.average.applied():
            try:
                yield
            finally:
                self.end_pass()

    def backward(self, loss: Tensor) -> None:
        """Backward pass of a micro-batch; ends what its forward pass has begun."""
        self.precision.backward(loss)
        self.end_pass()

    def end_pass(self) -> None:
        """Lets go of weights that came for a pass; also after one that failed."""
        if self.visits is not None:
            self.visits.let_go()

    def step(self) -> None:
        """Updates the weights from their gradients, and the average from the weights."""
        self.precision.step(self.optimizer)
        if self.shards is not None and self.visits is None:
            self.shards.share_weights()
        if self.average is not None:
            self.average.update()

    def sum_and_clip(self, ranks: Ranks, *, max_norm: float) -> float:
        """Adds gradients up over ranks and clips them; the global norm before clipping."""
        if self.shards is not None and self.shards.stage > 1:
            return self.shards.clip(max_norm=max_norm)
        ranks.sum_gradients(self.parameters)
        self.precision.unscale(self.optimizer)
        if self.split is not None:
            return clip_split_gradients(self.split, self.parameters, max_norm=max_norm)
        return clip_gradients(self.parameters, max_norm=max_norm)

    def clear_gradients(self, *, keep_memory: bool = True) -> None:
        """Makes gradients zero, or with `keep_memory=False` lets their memory go."""
        for value in self.parameters.values():
            value.clear_gradient(keep_memory)

    def gather_weights(self, tensors: Mapping[str, Tensor]) -> dict[str, HostTensor]:
        """Whole weights as they stand in files, on the main rank alone; every rank calls it.

        Args:
            tensors: `kept` or `published`.
        """
        if self.shards is not None and self.visits is not None:
            return self.shards.gather_weights(tensors)
        if self.split is not None and self.ranks.replica == 0:
            return self.split.gather(tensors, keeps=self.ranks.is_main)
        return host_arrays(tensors) if self.ranks.is_main else {}

    def gather_optimizer(self) -> dict[str, HostTensor] | None:
        """The optimizer's whole state on the main rank; None where that rank holds all of it."""
        if self.shards is not None:
            return self.shards.gather_state(self.optimizer)
        if self.split is not None and self.ranks.replica == 0:
            state = optimizer_tensors(self.optimizer, self.parameters)
            return gather_split_state(self.split, state, keeps=self.ranks.is_main)
        return None

    def restore_weights(self, arrays: Mapping[str, HostTensor], *, source: str) -> None:
        """Puts saved weights back, this rank's part of them.

        Raises:
            ModelError: If they belong to another model.
        """
        part = None if self.split is None else self.split.part
        set_tensors(self.kept, arrays, source=source, ignored=self.parameters.keys(), part=part)

    def restore_average(self, arrays: Mapping[str, HostTensor], *, source: str) -> None:
        """Puts a saved moving average back, if there is one.

        Raises:
            ModelError: If it belongs to another model.
        """
        if self.average is not None:
            part = None if self.split is None else self.split.part
            self.average.restore(arrays, source=source, ignored=self.parameters.keys(), part=part)

    def restore_optimizer(self, arrays: Mapping[str, HostTensor]) -> None:
        """Puts saved optimizer state back, this rank's part of it.

        Raises:
            CheckpointError: If the state belongs to other parameters.
        """
        own = None if self.shards is None else self.shards.own
        part = None if self.split is None else self.split.part
        restore_optimizer(self.optimizer, self.parameters, arrays, own, part)


def make_trainable(section: TrainerConfig, model: Model, ranks: Ranks = ALONE) -> Trainable:
    """Adds optimizer, number format and moving average to a model, as the section says."""
    if section.gradient_checkpointing:
        model.recompute_enable()
    parameters = trainable_parameters(model)
    shards = None
    if section.sharding:
        shards = OptimizerShards(parameters, ranks, stage=section.sharding)
    updated = parameters if shards is None else shards.own
    optimizer = build_optimizer(section, updated)
    precision = Precision(section)
    if section.packing:
        prepare_for_borders(model, is_low_precision=precision.dtype != "float32")
    precision.prepare(model, optimizer)
    visits = None
    if shards is not None and section.sharding == _WEIGHTS:
        visits = _spread_weights(model, shards, ranks)
    average = None
    if section.ema_decay is not None:
        average = MovingAverage(updated if visits else parameters, decay=section.ema_decay)
    return Trainable(
        model, parameters, optimizer, precision, average, shards, visits, find_split(model), ranks
    )


def _spread_weights(model: Model, shards: OptimizerShards, ranks: Ranks) -> VisitingWeights:
    """Stage 3: trained weights stay with who updates them, frozen ones are shared out likewise."""
    frozen = {
        name: int(value.size)
        for name, value in named_weights(model).items()
        if name not in shards.owners
    }
    owners = {**shards.owners, **assign_owners(frozen, ranks=ranks.world_size)}
    return VisitingWeights(model, owners, ranks)
