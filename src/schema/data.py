"""The section `data:`, from raw text to the token cache."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from src.languages import corpus_pairs, split_direction
from src.schema.base import Fraction, NonNegativeInt, PositiveInt, Section


class SourceConfig(Section):
    """One corpus. A bare string in `data.sources` is short for `{path: string}`."""

    path: str
    """File, glob or URL (`s3://`, `oss://`, `https://` … through fsspec), plain or
    .gz/.bz2/.xz/.zst. `corpus/train.{en,zh}` names a pair of Moses files (one sentence a line);
    anything else holds both languages. A web server's password belongs into `~/.netrc`."""
    name: str | None = None
    """Name in reports and in the `source` column. null: the file name without its suffixes."""
    format: Literal["moses", "tsv", "csv", "jsonl", "parquet", "tmx", "po"] | None = None
    """How the file is laid out. null: judged by its name."""
    languages: str | None = None
    """The two languages, such as en-zh; in a table without column names the first stands first.
    null: the first of `data.language_pairs`."""
    weight: float = Field(default=1.0, gt=0)
    """How eagerly its pairs are sampled: under `random` a pair of weight 2 is twice as likely to be
    chosen, under `diverse` what it adds counts double; `quality_filtered` knows scores only."""

    @field_validator("languages")
    @classmethod
    def _check_languages(cls, value: str | None) -> str | None:
        if value is not None:
            split_direction(value)
        return value


def accept_bare_strings(value: object) -> object:
    """Lets a list of sources hold bare paths."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list | tuple):
        return tuple({"path": item} if isinstance(item, str) else item for item in value)
    return value


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
    html_tags: Literal["keep", "unmatched", "all"] = "unmatched"
    """unmatched: HTML tags that only one side has are removed, those both sides have stay (a
    translator learns to keep them); all: every HTML tag goes. Tags that a sentence speaks about
    (`the <p> element`) stay."""
    list_markers: bool = True
    """A bullet or number (`- `, `1. `, `(a) `) that only one side of a pair starts with is removed
    where it is certain."""
    quotes: bool = True
    """Quotation marks of one text are made alike: ``…'' and “…" become "…"; in Chinese 「…」
    becomes “…”."""
    chinese_spacing: bool = True
    """Spaces between two Chinese or Japanese characters are removed."""
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
    """Largest share of the side that is not in Latin letters (of both, where both are) that is
    words of the other side. 1.0 keeps untranslated pairs."""
    max_copied_prose_share: Fraction = 0.3
    """The same, counting only words in lower-case letters: names and code may be copied, running
    text may not."""
    min_script_share: Fraction = 0.3
    """Smallest share of a side's words and Chinese characters that are in its own script."""
    max_foreign_share: Fraction = 0.15
    """Largest share of a side in other scripts (kana in Chinese, Cyrillic), or of its words that
    are function words of other languages, from two such words on. 1.0 switches off."""
    max_punctuation: Fraction = 0.6
    """Largest share of a side that is neither letter nor digit."""
    length_ratio_min: float = Field(default=0.6, ge=0)
    """Smallest length ratio, first language of a pair over second, measured in words' worths, so
    that 1.0 is typical; 99.7 % of good English-Chinese pairs lie between 0.6 and 1.8."""
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
    max_boilerplate: Fraction = 0.6
    """Largest share of both sides that is what web pages say around their text (menus, consent,
    copyright). 1.0 switches off."""
    max_pairs_per_sentence: PositiveInt = 4
    """Pairs kept that share one side, upper and lower case and punctuation aside. Exact duplicates
    always go."""
    max_pairs_per_template: PositiveInt | None = 20
    """Pairs kept that are the same on both sides once numbers are left out: boilerplate. null: no
    limit."""
    near_duplicates: Literal["keep", "drop"] = "keep"
    """drop: of pairs that differ in a few words only (SimHash of both sides), the first stays."""
    near_duplicate_bits: Annotated[int, Field(ge=0, le=7)] = 3
    """Bits of 64 in which the SimHashes of near duplicates may differ."""

    @model_validator(mode="after")
    def _check_length_ratio(self) -> FiltersConfig:
        if self.length_ratio_min >= self.length_ratio_max:
            raise ValueError(
                f"length_ratio_min={self.length_ratio_min:g} is not below "
                f"length_ratio_max={self.length_ratio_max:g}"
            )
        return self


class AdequacyConfig(Section):
    """Is one side a translation of the other, by the words that go together in this corpus?"""

    min_score: Fraction = 0.5
    """Smallest probability that a pair is aligned, if nine in ten are. Pairs with fewer than four
    telling words stay. 0.5 loses 0.1 % of good text, 0.6 0.4 %. 0 switches off."""
    lexicon: str | None = None
    """Folder of a lexicon learned before (`output_dir`/lexicon). null: learned from the corpus,
    again whenever the corpus changes. Naming one keeps the scores of what was processed before."""
    sample_pairs: PositiveInt = 5_000_000
    """Most pairs to learn from."""
    table_mib: PositiveInt = 256
    """Largest memory of the table of counts, in MiB; learning takes 150 MiB more besides."""


class DataConfig(Section):
    """`run.py process`: raw text to token cache."""

    sources: tuple[SourceConfig, ...] = ()
    """Corpora to read. At least one is needed by `process`."""
    language_pairs: tuple[str, ...] = ("en-zh", "zh-en")
    """Directions to train, source first. Both directions of a pair share one corpus; every pair
    needs at least one source."""
    max_samples: dict[str, PositiveInt] = Field(default={})
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
    costs 0.8 % of good text, 0.9 costs 10 %."""
    chunk_size: PositiveInt = 50_000
    """Sentence pairs handled at a time by one worker. Larger is a little faster and needs more
    memory: about 2 KiB a pair."""
    engine: Literal["processes", "ray"] = "processes"
    """What runs the work units: processes of this machine, or a Ray cluster that shares its disk
    (`pip install ray`). The result is the same, byte for byte."""
    ray_address: str | None = None
    """Ray cluster to use, e.g. auto or ray://head:10001. null: RAY_ADDRESS, else a local one."""
    num_workers: PositiveInt | None = None
    """Worker processes. null: one per core (with Ray: per core of the cluster)."""
    normalise: NormaliseConfig = NormaliseConfig()
    filters: FiltersConfig = FiltersConfig()
    adequacy: AdequacyConfig = AdequacyConfig()
    splits: SplitsConfig = SplitsConfig()
    tokenizer: str | None = None
    """Folder with tokenizer.json, or a model name. null: the tokenizer of `student.model_name`."""
    train_tokenizer_vocab_size: PositiveInt | None = None
    """Trains a byte-level BPE of this size on the train split instead of loading one, and stores
    it in `output_dir`/tokenizer. Only for models built from scratch."""
    seed: NonNegativeInt = 42
    """Seed of sampling and splits."""

    _accept_bare_strings = field_validator("sources", mode="before")(accept_bare_strings)

    @field_validator("language_pairs")
    @classmethod
    def _check_language_pairs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pair in value:
            split_direction(pair)
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
        pairs = corpus_pairs(self.language_pairs)
        for source in self.sources:
            if source.languages is not None:
                languages = split_direction(source.languages)
                if languages not in pairs and languages[::-1] not in pairs:
                    raise ValueError(
                        f"source {source.path} is {source.languages}, which language_pairs="
                        f"{list(self.language_pairs)} does not train"
                    )
        unknown = sorted(set(self.max_samples) - set(self.language_pairs))
        if unknown:
            raise ValueError(f"max_samples names {unknown}, not in language_pairs")
        return self
