"""How close translations are to references: sacrebleu's numbers, and what they leave out.

BLEU and chrF are comparable between papers only with the same tokenizer and settings, so every
result carries sacrebleu's own signatures. Chinese has no spaces: BLEU splits it into characters
(tokenizer "zh"), and so it does Japanese and Thai ("char"); every other language is split as
mteval-v13a does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from src.errors import DataError

# Word n-grams up to this length turn chrF into chrF++ (Popović 2017).
_CHRF_PLUS_PLUS_WORD_ORDER = 2
_BLEU_TOKENIZERS = {"zh": "zh", "ja": "char", "th": "char"}


@dataclass(frozen=True)
class Scores:
    """Corpus scores of one system on one test set.

    Attributes:
        bleu: 0 to 100.
        chrf: 0 to 100, characters only (chrF2).
        chrf_plus_plus: 0 to 100, characters and words (chrF2++).
        exact_match: Share of hypotheses that equal one of their references, 0 to 1; white space
            at the ends does not count.
        length_ratio: Hypothesis length over the length of the closest reference, in BLEU's tokens.
        n: Sentences.
        signatures: Metric name → sacrebleu's signature: tokenizer, case, references, version.
    """

    bleu: float
    chrf: float
    chrf_plus_plus: float
    exact_match: float
    length_ratio: float
    n: int
    signatures: Mapping[str, str]

    def to_json(self) -> dict[str, object]:
        """The object of `scores.json`; chrF++ stands under its own name, "chrf++"."""
        return {
            "bleu": self.bleu,
            "chrf": self.chrf,
            "chrf++": self.chrf_plus_plus,
            "exact_match": self.exact_match,
            "length_ratio": self.length_ratio,
            "n": self.n,
            "signatures": dict(self.signatures),
        }


def score(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, target_language: str
) -> Scores:
    """Scores a system's output against one or several sets of references.

    Args:
        hypotheses: One translation per sentence.
        references: One or several sets, each with one reference per sentence, in the same order.
            Where two references of a sentence are equally close, chrF counts the one of the
            earlier set, so that the order of the sets can move it by some thousandths.
        target_language: "zh", "en" …; decides how BLEU splits text.

    Raises:
        DataError: If there is nothing to score, or the counts differ.
    """
    require_equal_counts(hypotheses, references)
    metrics = metrics_for(target_language)
    found: dict[str, Any] = {
        name: metric.corpus_score(hypotheses, references) for name, metric in metrics.items()
    }
    bleu_score = found["bleu"]
    return Scores(
        bleu=bleu_score.score,
        chrf=found["chrf"].score,
        chrf_plus_plus=found["chrf++"].score,
        exact_match=sum(exact_matches(hypotheses, references)) / len(hypotheses),
        length_ratio=bleu_score.sys_len / bleu_score.ref_len if bleu_score.ref_len else 0.0,
        n=len(hypotheses),
        signatures={name: str(metric.get_signature()) for name, metric in metrics.items()},
    )


def metrics_for(target_language: str) -> dict[str, BLEU | CHRF]:
    """New metrics "bleu", "chrf" and "chrf++" for translations into a language."""
    return {
        "bleu": BLEU(tokenize=_BLEU_TOKENIZERS.get(target_language, "13a")),
        "chrf": CHRF(),
        "chrf++": CHRF(word_order=_CHRF_PLUS_PLUS_WORD_ORDER),
    }


def exact_matches(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> list[bool]:
    """Per sentence, whether the hypothesis equals one of its references (ends trimmed)."""
    return [
        hypothesis.strip() in {reference.strip() for reference in alternatives}
        for hypothesis, alternatives in zip(hypotheses, zip(*references, strict=True), strict=True)
    ]


def sentence_chrf(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Character F-score (chrF) of each sentence, 0 to 100: for finding the worst ones."""
    metric = CHRF()
    return [
        metric.sentence_score(hypothesis, list(alternatives)).score
        for hypothesis, alternatives in zip(hypotheses, zip(*references, strict=True), strict=True)
    ]


def require_equal_counts(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Refuses what cannot be scored.

    Raises:
        DataError: If there is nothing to score, or the counts differ.
    """
    if not references:
        raise DataError("there are no references to score against; give at least one set")
    if not hypotheses:
        raise DataError("there are no translations to score: the hypotheses are empty")
    for number, reference in enumerate(references, start=1):
        if len(reference) != len(hypotheses):
            raise DataError(
                f"{len(hypotheses)} hypotheses but {len(reference)} references in reference set "
                f"{number} of {len(references)}; both need one line per sentence, in the same order"
            )
