"""The page of scores: one system or several, per direction, with plots and examples.

One file without scripts that loads nothing: it can be mailed. Its style is the data report's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from src.corpus.report.markup import corpus_text, heads, legend, number, row, section, table
from src.corpus.report.style import STYLE
from src.evaluation.calibration import reliability_plot
from src.evaluation.measure import Measured, Sample
from src.evaluation.pairs import spread
from src.languages import LANGUAGES, split_direction
from src.units import format_count

_EXAMPLES = 12
_SIGNIFICANT = 0.05
_EXTRA_STYLE = """
main { max-width: 72rem; }
td.best { font-weight: 650; color: var(--kept); }
td small { display: block; white-space: nowrap; }
.scores { min-width: 52rem; }
.reliability { display: block; width: 100%; max-width: 18rem; margin: 0 auto; }
.reliability .frame { fill: none; stroke: var(--line); }
.reliability .bin { fill: var(--kept); }
.reliability .perfect { stroke: var(--language); stroke-dasharray: 5 4; }
.translations li { display: block; padding: .8rem 1rem; }
.translations dl {
  display: grid; grid-template-columns: 7.5rem minmax(0, 1fr); gap: .15rem .75rem; margin: 0;
}
.translations dd { overflow-wrap: anywhere; }
@media (max-width: 40rem) { .translations dl { grid-template-columns: minmax(0, 1fr); } }
"""
# Heading, key in scores.json, format; True where more is better, None where neither is.
_COLUMNS: tuple[tuple[str, str, str, bool | None], ...] = (
    ("BLEU", "bleu", "{:.2f}", True),
    ("chrF", "chrf", "{:.2f}", True),
    ("chrF++", "chrf++", "{:.2f}", True),
    ("COMET", "comet", "{:.4f}", True),
    ("exact", "exact_match", "{:.1%}", True),
    ("length ratio", "length_ratio", "{:.3f}", None),
    ("token accuracy", "token_accuracy", "{:.1%}", True),
    ("calibration error", "expected_calibration_error", "{:.1%}", False),
    ("sentences/s", "sentences_per_second", "{:.1f}", True),
)


def score_page(
    title: str,
    systems: Mapping[str, Mapping[str, Measured]],
    *,
    tests: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
) -> str:
    """The whole page.

    Args:
        title: What was evaluated.
        systems: Name → direction → what was measured.
        tests: Direction → system → metric → difference and p-value against the first system.
    """
    directions = list(dict.fromkeys(way for found in systems.values() for way in found))
    parts = [_direction(way, systems, (tests or {}).get(way, {})) for way in directions]
    parts.append(section("How it was measured", _signatures(systems)))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Scores: {escape(title)}</title>\n"
        f"<style>{STYLE}{_EXTRA_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<header><p class="brand">LinguaBridge</p><h1>Scores</h1><p class="note">'
        f"{escape(title)}</p></header>\n{''.join(parts)}</main>\n</body>\n</html>\n"
    )


def _direction(
    direction: str,
    systems: Mapping[str, Mapping[str, Measured]],
    tests: Mapping[str, Mapping[str, Any]],
) -> str:
    source, target = (LANGUAGES[code].name for code in split_direction(direction))
    found = {
        name: measured[direction] for name, measured in systems.items() if direction in measured
    }
    pairs = next(iter(found.values())).scores["n"]
    body = _table(found, tests) + _plots(found)
    for name, (label, chosen) in _example_groups(found).items():
        body += _drawer(name, label, chosen, found, direction)
    note = f"{pairs:,} held-out pairs. ± is half of the 95 % interval."
    if tests:
        first = next(iter(found))
        note += f" p: paired bootstrap against {first}; below {_SIGNIFICANT} the two differ."
    return section(f"{source} to {target}", body, note)


def _table(found: Mapping[str, Measured], tests: Mapping[str, Mapping[str, Any]]) -> str:
    scores = {name: measured.scores for name, measured in found.items()}
    columns = [
        column
        for column in _COLUMNS
        if any(row.get(column[1]) is not None for row in scores.values())
    ]
    best = {key: _best(scores, key, more) for _, key, _, more in columns}
    rows = []
    for name, values in scores.items():
        cells = [number(format_count(values["parameters"]))]
        for _, key, form, _ in columns:
            text = "–" if values.get(key) is None else escape(form.format(values[key]))
            text += _beside(values, tests.get(name, {}), key)
            cells.append(number(text, "n best" if best[key] == name else "n"))
        rows.append(row(escape(name), *cells))
    head = [
        *heads("system"),
        *heads("parameters", *(column[0] for column in columns), style="n"),
    ]
    return table(head, rows, "scores")


def _beside(values: Mapping[str, Any], tests: Mapping[str, Any], key: str) -> str:
    """Interval and p-value under a score."""
    text = ""
    interval = values.get("intervals", {}).get(key)
    if interval is not None:
        text += f"<small>± {(interval[1] - interval[0]) / 2:.2f}</small>"
    p_value = tests.get(key, {}).get("p_value")
    if p_value is not None:
        text += f"<small>p {p_value:.3f}</small>"
    return text


def _best(scores: Mapping[str, Mapping[str, Any]], key: str, more: bool | None) -> str | None:  # noqa: FBT001 - of a table
    """The one system with the best value, where there are several and one is ahead."""
    values = {name: row[key] for name, row in scores.items() if row.get(key) is not None}
    if more is None or len(values) < 2 or len(set(values.values())) == 1:  # noqa: PLR2004
        return None
    return (max if more else min)(values, key=lambda name: values[name])


def _plots(found: Mapping[str, Measured]) -> str:
    figures = "".join(
        f"<figure><figcaption>{escape(name)}: calibration error "
        f"{100 * measured.calibration.error:.1f}&nbsp;%</figcaption>"
        f"{reliability_plot(measured.calibration, name)}</figure>"
        for name, measured in found.items()
    )
    explained = legend(
        [
            ("kept", "accuracy of tokens predicted with this confidence; fainter where few"),
            ("threshold", "perfect calibration"),
        ]
    )
    return f'<div class="grid">{figures}</div>{explained}'


def _example_groups(found: Mapping[str, Measured]) -> dict[str, tuple[str, list[Sample]]]:
    """Which sentences are shown, judged by the last system."""
    judge = list(found)[-1]
    samples = found[judge].samples
    middle = max(0, len(samples) // 2 - _EXAMPLES // 2)
    groups = {
        "Worst translations": (f"by chrF of {judge}", samples[:_EXAMPLES]),
        "In the middle": ("around the median", samples[middle : middle + _EXAMPLES]),
        "From the worst to the best": ("evenly spread", spread(samples, _EXAMPLES)),
    }
    if len(found) > 1:
        apart = sorted(_apart(found), key=lambda item: item[0])
        groups["Furthest apart"] = (
            f"where {judge} falls behind the other systems most",
            [sample for distance, sample in apart[:_EXAMPLES] if distance < 0],
        )
    return {name: group for name, group in groups.items() if group[1]}


def _apart(found: Mapping[str, Measured]) -> list[tuple[float, Sample]]:
    """How far the last system's chrF is above the best of the others, per sentence."""
    *others, last = found.values()
    best: dict[tuple[str, str], float] = {}
    for measured in others:
        for sample in measured.samples:
            key = (sample.source, sample.reference)
            best[key] = max(best.get(key, 0.0), sample.chrf)
    return [(s.chrf - best[s.source, s.reference], s) for s in last.samples]


def _drawer(
    name: str,
    label: str,
    samples: Sequence[Sample],
    found: Mapping[str, Measured],
    direction: str,
) -> str:
    source_language, target_language = split_direction(direction)
    lookup = {
        system: {(s.source, s.reference): s for s in measured.samples}
        for system, measured in found.items()
    }
    items = []
    for sample in samples:
        lines = [_line("source", sample.source, source_language)]
        lines.append(_line("reference", sample.reference, target_language))
        for system, by_pair in lookup.items():
            its = by_pair[sample.source, sample.reference]
            label_text = f"{system} · {its.chrf:.0f}"
            lines.append(_line(label_text, its.hypothesis, target_language))
        items.append(f"<li><dl>{''.join(lines)}</dl></li>")
    return (
        f'<details class="translations"><summary>{escape(name)} <em>{escape(label)}</em> '
        f"<span>{len(samples)}</span></summary><ol>{''.join(items)}</ol></details>\n"
    )


def _line(label: str, text: str, language: str) -> str:
    return (
        f'<dt>{escape(label)}</dt><dd lang="{escape(language)}" dir="auto">'
        f"{corpus_text(text, ())}</dd>"
    )


def _signatures(systems: Mapping[str, Mapping[str, Measured]]) -> str:
    lines = dict.fromkeys(
        f"{metric}|{signature}"
        for found in systems.values()
        for measured in found.values()
        for metric, signature in measured.scores["signatures"].items()
    )
    items = "".join(f"<li><code>{escape(line)}</code></li>" for line in lines)
    values = next(iter(next(iter(systems.values())).values())).scores
    return (
        f"<ul>{items}</ul><p>Split {escape(values['split'])}, beam {values['beam_size']}. Token "
        "accuracy and calibration are of the references' tokens, each predicted from the true ones "
        f"before it. Intervals and p-values: {values['intervals'].get('resamples', 0):,} "
        "resamples of the test set.</p>"
    )
