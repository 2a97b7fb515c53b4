"""Every configuration key: its type, default, meaning and unit.

The sentence under a field is its documentation: `run.py config --explain` and
docs/configuration.md are generated from it. Sections are frozen, unknown keys are refused, and a
rule that involves two keys names both. Reading files and overrides is `src.config`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """Base of all sections: frozen data, unknown keys refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=()
    )


class SourceConfig(Section):
    """One corpus. A bare string in `data.sources` is short for `{path: string}`."""

    path: str
    """File or glob, plain or .gz/.bz2/.xz/.zst. `corpus/train.{en,zh}` names a pair of Moses files
    (one sentence a line); anything else is a table with one pair a line, English first."""
    name: str | None = None
    """Name in reports and in the `source` column. null: the file name without its suffixes."""
    format: Literal["moses", "tsv", "csv", "jsonl"] | None = None
    """How the file is laid out. null: judged by its name."""


class SplitsConfig(Section):
    """How many pairs are held out; no held-out sentence occurs in train on either side."""

    dev: NonNegativeInt = 2000
    """Pairs for evaluation during training."""
    test: NonNegativeInt = 2000
    """Pairs for `run.py evaluate`."""


class NormaliseConfig(Section):
    """Repairs made before any score is computed; each is counted in the report."""

    html_entities: bool = True
    """`&amp;` becomes `&`."""
    mojibake: bool = True
    """Text decoded with the wrong encoding is repaired where the repair is certain (ftfy)."""
    control_characters: bool = True
    """Control, zero-width and byte-order characters are removed."""
    unicode_form: Literal["NFC", "NFKC", "none"] = "NFC"
    """Unicode normal form. NFKC also folds full-width letters and ligatures."""
    fullwidth_latin: bool = True
    """Full-width Latin letters and digits become ASCII."""
    traditional_to_simplified: bool = True
    """Traditional Chinese is converted, not dropped (OpenCC t2s)."""
    chinese_spacing: bool = True
    """Spaces between two Chinese characters are removed."""
    chinese_punctuation: bool = True
    """`,` `.` `?` `!` `:` `;` between or after Chinese characters become full-width; code, URLs
    and numbers stay."""
    whitespace: bool = True
    """Runs of white space become one space; ends are trimmed."""


class FiltersConfig(Section):
    """Limits a pair must keep; a pair is dropped for the first limit it breaks, in this order."""

    max_characters: PositiveInt = 2000
    """Characters per side."""
    max_encoding_errors: Fraction = 0.0
    """Largest share of a side's characters that can only come from a broken encoding (U+FFFD,
    mojibake that could not be repaired, private use)."""
    max_copy_share: Fraction = 0.7
    """Largest share of the Chinese side that is words of the English side. 1.0 keeps untranslated
    pairs."""
    max_copied_prose_share: Fraction = 0.3
    """The same, counting only words in lower-case letters: names and code may be copied, running
    text may not."""
    min_script_share: Fraction = 0.3
    """Smallest share of a side's words and Chinese characters that are in its own script."""
    max_foreign_share: Fraction = 0.15
    """Largest share of a side in other scripts (kana, Cyrillic), or of its words that are function
    words of other languages. 1.0 switches off."""
    max_punctuation: Fraction = 0.6
    """Largest share of a side that is neither letter nor digit."""
    length_ratio_min: float = Field(default=0.6, ge=0)
    """Smallest English/Chinese length ratio, measured in words' worths, so that 1.0 is typical;
    99.7 % of good pairs lie between 0.6 and 1.8."""
    length_ratio_max: float = Field(default=1.8, gt=0)
    """Largest ratio, same unit."""
    length_ratio_scale: float = Field(default=1.6, gt=0)
    """Chinese characters that are a word's worth. On both sides 4.8 other characters, spaces not
    counted, are one too."""
    length_ratio_smoothing: float = Field(default=3.0, ge=0)
    """Words' worths added to both lengths before dividing, so that a word more or less decides
    nothing in short text."""
    max_repetition: Fraction = 0.45
    """Largest share of a side that repeats what the same side already said."""
    max_looping: Fraction = 0.12
    """Largest share of a side that is being said for the fourth time or more."""
    min_vocabulary_richness: Fraction = 0.3
    """Smallest share of distinct units (words, Chinese characters) on a side of 8 units or more."""
    max_number_disagreement: Fraction = 0.5
    """Largest disagreement of the numbers: 1.0 when both sides hold a number that the other lacks,
    else the share of numbers the other side lacks. Order, grouping, 12/24 hours, two-digit years,
    months and numbers in words are understood. 1.0 switches off."""
    placeholders_must_match: bool = True
    """Both sides must hold the same placeholders (`%s`, `%1`, `{name}`)."""
    max_pairs_per_sentence: PositiveInt = 4
    """Pairs kept that share one side, upper and lower case and punctuation aside. Exact duplicates
    always go."""

    @model_validator(mode="after")
    def _check_length_ratio(self) -> FiltersConfig:
        if self.length_ratio_min >= self.length_ratio_max:
            raise ValueError(
                f"length_ratio_min={self.length_ratio_min:g} is not below "
                f"length_ratio_max={self.length_ratio_max:g}"
            )
        return self


class DataConfig(Section):
    """`run.py process`: raw text to token cache."""

    sources: tuple[SourceConfig, ...] = ()
    """Corpora to read. At least one is needed by `process`."""
    language_pairs: tuple[str, ...] = ("en-zh", "zh-en")
    """Directions to train, source first. Both directions share one corpus and one cache."""
    max_samples: dict[str, PositiveInt] = {}
    """Largest number of training pairs per direction, e.g. {zh-en: 1000000}; unnamed directions
    are not limited."""
    output_dir: str = "data/processed"
    """Folder of the text shards, the token cache and the report."""
    sample_size: PositiveInt | None = None
    """Training pairs to keep after filtering. null keeps all."""
    sample_strategy: Literal["quality_filtered", "diverse", "random"] = "diverse"
    """How `sample_size` pairs are chosen: the best by score; the widest coverage of words and
    phrases above a quality gate; or at random."""
    quality_threshold: Fraction = 0.5
    """Smallest combined quality score (0 to 1) a pair must reach. The score falls with everything
    the filters look at, before it breaks a limit: 0.5 drops little more than the filters do, 0.75
    costs 1.5 % of good text, 0.9 costs 15 %."""
    chunk_size: PositiveInt = 50_000
    """Sentence pairs handled at a time by one worker. Larger is a little faster and needs more
    memory: about 2 KiB a pair."""
    num_workers: PositiveInt | None = None
    """Worker processes. null: one per core."""
    normalise: NormaliseConfig = NormaliseConfig()
    filters: FiltersConfig = FiltersConfig()
    splits: SplitsConfig = SplitsConfig()
    tokenizer: str | None = None
    """Folder with tokenizer.json, or a model name. null: the tokenizer of `student.model_name`."""
    train_tokenizer_vocab_size: PositiveInt | None = None
    """Trains a byte-level BPE of this size on the train split instead of loading one, and stores
    it in `output_dir`/tokenizer. Only for models built from scratch."""
    seed: NonNegativeInt = 42
    """Seed of sampling and splits."""

    @field_validator("sources", mode="before")
    @classmethod
    def _accept_bare_strings(cls, value: object) -> object:
        if isinstance(value, str):
            value = [value]
        if isinstance(value, list | tuple):
            return tuple({"path": item} if isinstance(item, str) else item for item in value)
        return value

    @field_validator("language_pairs")
    @classmethod
    def _check_language_pairs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pair in value:
            if pair not in ("en-zh", "zh-en"):
                raise ValueError(f"'{pair}' is not supported yet; use en-zh and zh-en")
        if not value:
            raise ValueError("names no direction; use [en-zh, zh-en]")
        if len(set(value)) != len(value):
            raise ValueError(f"names a direction twice: {', '.join(value)}")
        return value

    @model_validator(mode="after")
    def _check_tokenizer(self) -> DataConfig:
        if self.tokenizer is not None and self.train_tokenizer_vocab_size is not None:
            raise ValueError(
                f"tokenizer={self.tokenizer} and train_tokenizer_vocab_size="
                f"{self.train_tokenizer_vocab_size} contradict each other; keep one"
            )
        unknown = sorted(set(self.max_samples) - set(self.language_pairs))
        if unknown:
            raise ValueError(f"max_samples names {unknown}, not in language_pairs")
        return self


class ArchitectureConfig(Section):
    """Sizes of a Qwen2 model built from scratch."""

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


class TrainerConfig(Section):
    """What teacher and student training share."""

    model_name: str
    """Folder in Hugging Face layout (every model folder of this project is one), or a name that
    PaddleNLP can download."""
    architecture: ArchitectureConfig | None = None
    """Builds a new model of these sizes instead of loading `model_name`'s weights."""
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
    """Sentence pairs per device per forward pass. Halve it first when memory runs out, and double
    gradient_accumulation_steps."""
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
    optimizer: Literal["adamw"] = "adamw"
    """Update rule."""
    adam_beta1: Fraction = 0.9
    """AdamW's decay of the gradient mean."""
    adam_beta2: Fraction = 0.98
    """AdamW's decay of the squared gradient."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled weight decay; norms and biases are exempt."""
    max_grad_norm: float = Field(default=1.0, ge=0)
    """Gradients are scaled down to this global norm; 0 switches clipping off."""
    max_seq_length: PositiveInt = 384
    """Tokens of prompt, source and target together; longer pairs are left out and counted."""
    fp16: bool = False
    """Mixed precision in float16 with loss scaling. Needs a GPU."""
    bf16: bool = False
    """Mixed precision in bfloat16. Needs a GPU of the Ampere generation or newer."""
    fp16_opt_level: Literal["O1", "O2"] = "O1"
    """O1 casts listed operations; O2 keeps the weights in low precision with float32 masters."""
    gradient_checkpointing: bool = False
    """Recomputes activations in the backward pass: about 30 % slower, far less memory."""
    dataloader_num_workers: NonNegativeInt = 0
    """Processes that prepare batches; 0 prepares them in the training process."""
    save_steps: PositiveInt = 1000
    """Optimizer steps between checkpoints."""
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
    """auto: the newest checkpoint in output_dir that verifies; never: start anew, refused when
    output_dir already holds checkpoints; or the path of one checkpoint."""
    seed: NonNegativeInt = 42
    """Seed of initial weights, data order and dropout."""

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
        ]
        found = [text for is_wrong, text in problems if is_wrong]
        if found:
            raise ValueError("; ".join(found))
        return self


class TeacherConfig(TrainerConfig):
    """`run.py teacher`."""

    model_name: str = "Qwen/Qwen2.5-7B"
    """Folder in Hugging Face layout (every model folder of this project is one), or a name that
    PaddleNLP can download."""
    output_dir: str = "models/teacher"
    """Folder of checkpoints, metrics and the final model."""


class StudentConfig(TrainerConfig):
    """`run.py student`: the keys of `teacher:` and those of distillation."""

    model_name: str = "Qwen/Qwen2.5-0.5B"
    """Folder in Hugging Face layout (every model folder of this project is one), or a name that
    PaddleNLP can download."""
    output_dir: str = "models/student"
    """Folder of checkpoints, metrics and the final model."""
    teacher: str | None = None
    """Folder of the tuned teacher. null: `teacher.output_dir`/final."""
    kd_mode: Literal["online", "none"] = "online"
    """online: the frozen teacher runs beside the student. none: references only."""
    distillation_alpha: Fraction = 0.7
    """Share of the teacher's term in the loss; 0.7 = 70 % teacher, 30 % references."""
    temperature: float = Field(default=3.0, gt=0)
    """Softens teacher and student in the teacher's term, which is scaled by its square."""


class EvaluationConfig(Section):
    """`run.py evaluate` and `run.py translate`."""

    max_samples: PositiveInt | None = 1000
    """Test pairs per direction that are translated and scored. null: all."""
    batch_size: PositiveInt = 64
    """Sentences decoded together."""
    max_new_tokens: PositiveInt = 256
    """Longest translation, in tokens."""


class MonitoringConfig(Section):
    """What training writes for people to look at."""

    visualdl: bool = True
    """Whether scalars are written to `output_dir`/visualdl besides metrics.jsonl."""


class Config(Section):
    """The whole configuration: one section per stage."""

    data: DataConfig = DataConfig()
    teacher: TeacherConfig = TeacherConfig()
    student: StudentConfig = StudentConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    monitoring: MonitoringConfig = MonitoringConfig()
