"""What `teacher:` and `student:` share, and the section `teacher:`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from src.schema.base import Fraction, NonNegativeInt, PositiveInt, Section
from src.schema.health import HealthConfig
from src.schema.model_sizes import find_model_size, known_names

LoraTarget = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
OptimizerName = Literal[
    "adamw",
    "adam",
    "adamax",
    "nadam",
    "radam",
    "lamb",
    "rmsprop",
    "adagrad",
    "momentum",
    "sgd",
]
_WEIGHTS = 3  # the stage of sharding that spreads them
MASTER_WEIGHT_OPTIMIZERS = ("adamw", "adam", "lamb", "momentum", "sgd")
"""Those that Paddle lets keep float32 master copies of low-precision weights."""


def _require_known_optimizer(value: object) -> object:
    names = get_args(OptimizerName)
    if value not in names:
        raise ValueError(f"there is no optimizer {value!r} in Paddle; choose {', '.join(names)}")
    return value


def _require_distinct(targets: tuple[LoraTarget, ...]) -> tuple[LoraTarget, ...]:
    if not targets or len(set(targets)) < len(targets):
        raise ValueError(f"name at least one layer and each once, got {list(targets)}")
    return targets


class ArchitectureConfig(Section):
    """Sizes of a Qwen2 model built from scratch; a name such as qwen2.5-0.5b stands for its own."""

    hidden_size: PositiveInt
    """Width; a multiple of num_attention_heads."""
    num_hidden_layers: PositiveInt
    """Transformer layers."""
    intermediate_size: PositiveInt
    """Width of the feed-forward layers."""
    num_attention_heads: PositiveInt
    """Query heads; a multiple of num_key_value_heads."""
    num_key_value_heads: PositiveInt
    """Key and value heads."""
    tie_word_embeddings: bool = True
    """Whether the output projection is the embedding matrix."""
    initializer_range: float = Field(default=0.02, gt=0)
    """Standard deviation of the initial weights."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_named_sizes(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        size = find_model_size(value)
        if size is None:
            raise ValueError(f"no known model {value!r}; give its sizes, or one of {known_names()}")
        return {key: each for key, each in asdict(size).items() if key in cls.model_fields}

    @model_validator(mode="after")
    def _check_heads(self) -> ArchitectureConfig:
        for width, heads in (
            ("hidden_size", "num_attention_heads"),
            ("num_attention_heads", "num_key_value_heads"),
        ):
            if getattr(self, width) % getattr(self, heads):
                raise ValueError(
                    f"{width}={getattr(self, width)} is not a multiple of "
                    f"{heads}={getattr(self, heads)}"
                )
        return self


class LoraConfig(Section):
    """Low-rank adapters: small matrices are trained beside frozen weights."""

    r: PositiveInt = 16
    """Rank: columns of the small matrices. More learn more and cost more memory."""
    alpha: float = Field(default=32.0, gt=0)
    """The adapter's output is scaled by alpha / r."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Share of the adapter's inputs that is dropped while training."""
    targets: Annotated[tuple[LoraTarget, ...], AfterValidator(_require_distinct)] = get_args(
        LoraTarget
    )
    """Linear layers of every block that get an adapter."""


class TrainerConfig(Section):
    """What teacher and student training share."""

    model_name: str
    """Folder in Hugging Face layout (every model folder of this project is one), or a name that
    PaddleNLP can download."""
    architecture: ArchitectureConfig | None = None
    """Builds a new model of these sizes instead of loading `model_name`'s weights."""
    lora: LoraConfig | None = None
    """Trains adapters on frozen weights, e.g. `{r: 16, alpha: 32}`. null: trains all weights."""
    quantization: Literal["none", "int8", "nf4"] = "none"
    """Bits of the frozen weights under an adapter: none keeps them, int8 halves their memory, nf4
    quarters it. Needs lora, fp16 or bf16 with fp16_opt_level O2, and a GPU."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Keeps an exponential moving average of the trained weights, of about 1 / (1 - ema_decay)
    steps; it is what is evaluated and published. null: off."""
    use_paddlenlp: bool = True
    """Models are PaddleNLP's; false is refused, there is no other back end."""
    prompt: Literal["compact", "chatml"] = "compact"
    """compact: source, one direction marker, target. chatml: Qwen's chat format with an
    instruction, about twice as long."""
    output_dir: str
    """Folder of checkpoints, metrics and the final model."""
    num_epochs: PositiveInt = 1
    """Passes over the training pairs, in every direction."""
    max_steps: PositiveInt | None = None
    """Stops after this many optimizer steps, even within an epoch. null: num_epochs decides."""
    batch_size: PositiveInt = 16
    """Sentence pairs per device per forward pass; rows of several pairs with packing. Halve it
    first when memory runs out, and double gradient_accumulation_steps."""
    gradient_accumulation_steps: PositiveInt = 1
    """Forward passes per optimizer step and device."""
    global_batch_size: PositiveInt | None = None
    """Sentence pairs per optimizer step over all devices. null: batch_size x
    gradient_accumulation_steps x devices at the first start; fixed from then on, also when the
    number of devices changes at resume."""
    learning_rate: float = Field(default=5.0e-5, gt=0)
    """Peak learning rate."""
    warmup_steps: NonNegativeInt | None = None
    """Optimizer steps of linear warm-up from 0. null: warmup_ratio decides, else none."""
    warmup_ratio: Fraction | None = None
    """Warm-up as a share of all steps, instead of warmup_steps. null: not used."""
    lr_scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    """Shape of the decay from the peak to min_lr."""
    min_lr: float = Field(default=0.0, ge=0)
    """Learning rate at the last step (cosine and linear)."""
    optimizer: Annotated[OptimizerName, BeforeValidator(_require_known_optimizer)] = "adamw"
    """Update rule, one of Paddle's."""
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the gradient mean (Adam's family, lamb), or the momentum (momentum)."""
    adam_beta2: float = Field(default=0.98, ge=0, lt=1)
    """Decay of the squared gradient (Adam's family, lamb, rmsprop)."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Weight decay, decoupled from the gradient in adamw and lamb, added to it in the others;
    norms and biases are exempt."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Gradients are scaled down to this global norm; 0 switches clipping off."""
    max_seq_length: PositiveInt = 384
    """Tokens of prompt, source and target together; longer pairs are left out and counted."""
    packing: bool = False
    """Puts several pairs into one row of at most max_seq_length tokens, each seeing itself alone.
    A step's pairs are then a random draw; without packing they are of nearly equal length, which
    pads as little and computes less attention. Pays where global_batch_size fills many rows."""
    fp16: bool = False
    """Mixed precision in float16 with loss scaling. Needs a GPU."""
    bf16: bool = False
    """Mixed precision in bfloat16. Needs a GPU of the Ampere generation or newer."""
    fp16_opt_level: Literal["O1", "O2"] = "O1"
    """O1 casts listed operations; O2 keeps the weights in low precision with float32 masters."""
    gradient_checkpointing: bool = False
    """Recomputes activations in the backward pass: about 30 % slower, far less memory."""
    sharding: Literal[0, 1, 2, 3] = 0
    """What is spread over devices instead of kept on each: 1 the optimizer's state, 2 gradients
    too, 3 weights too, also those that lora freezes. 0: nothing. 1 gives the same weights as 0 bit
    for bit and costs one more exchange of the weights per step; 2 exchanges gradients at every
    forward pass, 3 also weights, before each layer forward and backward; every device builds the
    whole model once before it keeps its share."""
    tensor_parallel: PositiveInt = 1
    """Neighbouring devices that compute one forward pass together, each with a part of every layer;
    it divides the model's heads and the number of devices. They exchange twice per layer, so they
    should be in one machine. 1: each device computes by itself."""
    dataloader_num_workers: NonNegativeInt = 0
    """Processes that prepare batches; 0 prepares them in the training process."""
    save_steps: PositiveInt | Literal["auto"] = 1000
    """Optimizer steps between checkpoints. auto: as many as lose least time, from the measured
    stall of a save and the mean up-time of the machines so far; between a minute and an hour."""
    eval_steps: PositiveInt = 1000
    """Optimizer steps between evaluations on the dev split."""
    eval_samples: PositiveInt | None = 1000
    """Dev pairs per evaluation and direction. null: all."""
    logging_steps: PositiveInt = 10
    """Optimizer steps between log lines."""
    save_total_limit: PositiveInt = 3
    """Checkpoints kept besides the best one."""
    early_stopping_patience: PositiveInt | None = None
    """Stops after this many evaluations in a row without improvement. null: never."""
    early_stopping_threshold: float = Field(default=0.0, ge=0)
    """Smallest fall of the evaluation loss that counts as improvement, in nats per token."""
    resume_from_checkpoint: str = "auto"
    """auto: the newest checkpoint that verifies, in output_dir or checkpoint_store; never: start
    anew, refused when there are checkpoints already; the path or address of one checkpoint; or the
    address of a store, whose newest one starts a run that has none of its own."""
    checkpoint_store: str | None = None
    """Where checkpoints are uploaded to behind the training, and restored from on an empty disk:
    oss://BUCKET/FOLDER, s3://BUCKET/FOLDER, hf://USER/MODEL (milestones) or a folder on a mounted
    drive. One store per run; credentials come from the environment. null: nowhere."""
    seed: NonNegativeInt = 42
    """Seed of initial weights, data order and dropout."""
    health: HealthConfig = HealthConfig()
    """When a step counts as sick, and what happens then."""

    @model_validator(mode="after")
    def _check_rules(self) -> TrainerConfig:
        problems = [
            (
                self.fp16 and self.bf16,
                "fp16=true and bf16=true contradict each other; keep one",
            ),
            (
                self.warmup_steps is not None and self.warmup_ratio is not None,
                f"warmup_steps={self.warmup_steps} and warmup_ratio={self.warmup_ratio} "
                "contradict each other; keep one",
            ),
            (
                self.max_steps is not None and (self.warmup_steps or 0) > (self.max_steps or 0),
                f"warmup_steps={self.warmup_steps} is more than max_steps={self.max_steps}; "
                "the learning rate would never reach its peak",
            ),
            (
                self.min_lr > self.learning_rate,
                f"min_lr={self.min_lr:g} is above learning_rate={self.learning_rate:g}",
            ),
            (
                not self.use_paddlenlp,
                "use_paddlenlp=false: models come from PaddleNLP only; set it to true",
            ),
            (
                self.sharding > 0 and self.fp16,
                f"sharding={self.sharding} and fp16=true: the loss scale is not shared between "
                "devices; set bf16=true and fp16=false, or sharding=0",
            ),
            (
                self.sharding > 1 and self.health.noise_scale,
                f"sharding={self.sharding} and health.noise_scale=true: no device holds a whole "
                "gradient to measure; set sharding to 0 or 1, or noise_scale=false",
            ),
            *self._adapter_problems(),
            *self._split_problems(),
        ]
        found = [text for is_wrong, text in problems if is_wrong]
        if found:
            raise ValueError("; ".join(found))
        return self

    def _adapter_problems(self) -> list[tuple[bool, str]]:
        is_low, is_quantized = self.fp16 or self.bf16, self.quantization != "none"
        return [
            (
                self.lora is not None and self.architecture is not None,
                "lora trains adapters of a finished model, and architecture builds a random one; "
                "set architecture to null and model_name to a model, or lora to null",
            ),
            (
                is_quantized and self.lora is None,
                f"quantization={self.quantization} freezes the weights in low bits, so there is "
                "nothing to train without lora; set lora, or quantization to none",
            ),
            (
                is_quantized and not (is_low and self.fp16_opt_level == "O2"),
                f"quantization={self.quantization} computes in low precision only; set bf16=true "
                "(or fp16=true) and fp16_opt_level=O2",
            ),
            (
                is_low
                and self.fp16_opt_level == "O2"
                and self.optimizer not in MASTER_WEIGHT_OPTIMIZERS,
                f"optimizer={self.optimizer} keeps no float32 copies of the weights, which "
                f"fp16_opt_level=O2 needs; choose {', '.join(MASTER_WEIGHT_OPTIMIZERS)}, or O1",
            ),
        ]

    def _split_problems(self) -> list[tuple[bool, str]]:
        degree = self.tensor_parallel
        rivals = (
            (self.sharding > 0, f"sharding={self.sharding}", "parts of layers are not shared out"),
            (self.lora is not None, "lora", "adapters are not cut"),
            (self.fp16, "fp16=true", "the loss scale is not shared between devices; bf16 has none"),
            (self.optimizer == "lamb", "optimizer=lamb", "it needs the norms of whole weights"),
            (
                self.health.noise_scale,
                "health.noise_scale=true",
                "no device holds a whole gradient to measure",
            ),
        )
        return [
            (
                self.sharding == _WEIGHTS and self.quantization != "none",
                f"sharding=3 and quantization={self.quantization}: weights in low bits stay on "
                "every device; set sharding=2, or quantization=none",
            ),
            *(
                (
                    degree > 1 and is_set,
                    f"tensor_parallel={degree} and {name} do not go together: {why}; keep one",
                )
                for is_set, name, why in rivals
            ),
        ]


class TeacherConfig(TrainerConfig):
    """`run.py teacher`."""

    model_name: str = "Qwen/Qwen2.5-7B"
    """Folder in Hugging Face layout (every model folder of this project is one), or a name that
    PaddleNLP can download."""
    output_dir: str = "models/teacher"
    """Folder of checkpoints, metrics and the final model."""
