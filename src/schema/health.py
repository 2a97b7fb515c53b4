"""The sub-section `health:` of `teacher:` and `student:`."""

from __future__ import annotations

from pydantic import Field, model_validator

from src.schema.base import NonNegativeInt, PositiveInt, Section


class HealthConfig(Section):
    """When a training step counts as sick, and what happens then."""

    window: PositiveInt = 100
    """Good steps whose median is what is usual."""
    min_steps: PositiveInt = 20
    """Good steps that must be known before a step is compared with them; numbers that are not
    finite are caught from the first step on."""
    spike_report: float = Field(default=3.0, gt=1)
    """A loss above this many times the usual one is reported."""
    spike_skip: float = Field(default=10.0, gt=1)
    """A loss above this many times the usual one: the step changes no weights."""
    spike_least_rise: float = Field(default=2.0, ge=0)
    """Nats per target token above the usual loss that a spike rises at least. Batches differ: where
    most are learned, those of long or rare pairs are ten times the usual and no spike."""
    gradient_report: float = Field(default=10.0, gt=1)
    """A gradient norm (before clipping) above this many times the usual one is reported as an
    explosion."""
    rollback_after: PositiveInt = 5
    """Skipped steps in a row after which the run goes back to its last good checkpoint."""
    max_rollbacks: NonNegativeInt = 3
    """Returns to a checkpoint before the run gives up. 0: gives up at once."""
    rollback_lr_factor: float = Field(default=0.5, gt=0, le=1)
    """Each return multiplies the learning rate by this, for the rest of the run."""
    noise_scale: bool = False
    """Estimates the gradient noise scale, the global batch size (in pairs) beyond which larger
    batches stop paying, as `noise_scale` in metrics.jsonl. Needs two micro-batches or ranks per
    step, and costs one more pass over the gradients per step."""

    @model_validator(mode="after")
    def _check_order(self) -> HealthConfig:
        if self.spike_report > self.spike_skip:
            raise ValueError(
                f"spike_report={self.spike_report:g} is above spike_skip={self.spike_skip:g}; "
                "what is skipped is always reported"
            )
        if self.min_steps > self.window:
            raise ValueError(
                f"min_steps={self.min_steps} is more than window={self.window} steps hold"
            )
        return self
