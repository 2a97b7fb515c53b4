"""The style sheet of report.html: light or dark as the reader's system is, and readable on a phone.

Colour carries one meaning each: teal is what was kept, sand what was there before, and each group
of reasons has a warm or dull colour of its own, wherever it stands.
"""

_COLOURS = """
:root {
  color-scheme: light dark;
  --paper: #faf9f6; --card: #ffffff; --ink: #20262b; --soft: #626c75; --line: #e4e1da;
  --kept: #1f8072; --spare: #d5cdbd; --unchosen: #b3a88f; --chance: #8d8470;
  --broken: #7d5a6d; --language: #c2603a; --noise: #d9973a; --mismatch: #a83f45;
  --repeated: #6f7f94; --leak: #3f5f8f;
  --notice: #fdf3e1; --notice-line: #e6b65c; --mark: #ffdd9e; --mark-line: #b4530d;
  --heat: 194, 96, 58;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181b; --card: #1b2125; --ink: #e6e8ea; --soft: #9aa4ad; --line: #2d353b;
    --kept: #43b3a1; --spare: #4d555c; --unchosen: #78828a; --chance: #98a2aa;
    --broken: #b48aa2; --language: #e08560; --noise: #e0b15c; --mismatch: #d86f74;
    --repeated: #8b9cb3; --leak: #7799d0;
    --notice: #2b2519; --notice-line: #a9803a; --mark: #5c4310; --mark-line: #f0b35a;
    --heat: 224, 133, 96;
  }
}
"""

_TEXT = """
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "PingFang SC",
    "Microsoft YaHei", "Noto Sans CJK SC", sans-serif;
  font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100%;
}
main { max-width: 64rem; margin: 0 auto; padding: 3rem 1.25rem 5rem; }
header { margin-bottom: 2rem; }
.brand { margin: 0; color: var(--kept); font-weight: 600; letter-spacing: .02em; }
h1 { margin: 0; font-size: 2rem; line-height: 1.2; letter-spacing: -.02em; font-weight: 650; }
h2 { margin: 0 0 1rem; font-size: 1.15rem; letter-spacing: -.01em; font-weight: 620; }
section { margin-top: 3rem; }
small, .note, summary span, summary em {
  color: var(--soft); font-size: .85rem; font-weight: 400; font-style: normal;
}
.note { margin: -.5rem 0 .9rem; }
.grid + .note { margin: .6rem 0 0; }
.figures {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(12.5rem, 1fr)); gap: 1px;
  margin: 0; background: var(--line); border: 1px solid var(--line); border-radius: 12px;
  overflow: hidden;
}
.figures > div { background: var(--card); padding: 1.1rem 1.25rem; }
dt { color: var(--soft); font-size: .85rem; }
dd { margin: 0; }
dd strong {
  display: block; font-size: 1.7rem; line-height: 1.3; font-weight: 620; letter-spacing: -.02em;
}
dd small { display: block; }
.warnings {
  margin-bottom: 1.5rem; padding: 1rem 1.25rem; border-radius: 12px; background: var(--notice);
  border: 1px solid var(--notice-line);
}
.warnings h2 { margin: 0 0 .35rem; font-size: 1rem; }
.warnings ul { margin: 0; padding-left: 1.1rem; }
.facts {
  display: flex; flex-wrap: wrap; gap: .3rem 2rem; margin: 0 0 1.25rem; padding: 0;
  list-style: none; color: var(--soft);
}
.facts b { color: var(--ink); font-weight: 620; overflow-wrap: anywhere; }
"""

_PICTURES = """
.bar { display: block; width: 100%; height: .75rem; border-radius: 4px; }
.track { fill: var(--line); opacity: .55; }
rect.kept, .after { fill: var(--kept); }
rect.spare, .before { fill: var(--spare); }
rect.unchosen { fill: var(--unchosen); }
rect.chance { fill: var(--chance); }
rect.broken { fill: var(--broken); }
rect.language { fill: var(--language); }
rect.noise { fill: var(--noise); }
rect.mismatch { fill: var(--mismatch); }
rect.repeated { fill: var(--repeated); }
rect.leak { fill: var(--leak); }
.after { opacity: .82; }
.limit { stroke: var(--language); stroke-width: 1.5; stroke-dasharray: 4 3; }
.flow { margin-bottom: 1.75rem; }
.flow .bar { height: 1.6rem; border-radius: 6px; }
.legend {
  display: flex; flex-wrap: wrap; gap: .35rem 1.5rem; margin: .75rem 0 0; padding: 0;
  list-style: none; font-size: .92rem;
}
.legend span { color: var(--soft); }
.legend b { color: var(--ink); font-weight: 620; }
.legend i {
  display: inline-block; width: .75rem; height: .75rem; margin-right: .45rem; border-radius: 3px;
}
i.kept { background: var(--kept); }
i.spare { background: var(--spare); }
i.chance { background: var(--chance); }
i.broken { background: var(--broken); }
i.language { background: var(--language); }
i.noise { background: var(--noise); }
i.mismatch { background: var(--mismatch); }
i.repeated { background: var(--repeated); }
i.leak { background: var(--leak); }
i.threshold { height: 0; border-top: 2px dashed var(--language); vertical-align: middle; }
.grid {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr));
  gap: 1rem; margin-top: 1rem;
}
figure {
  margin: 0; padding: 1rem 1.1rem .6rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 12px;
}
figure.broad { max-width: 40rem; margin-top: 1.25rem; padding-bottom: 1rem; }
figure .note { margin: .15rem 0 0; text-align: center; }
figcaption { margin-bottom: .5rem; font-size: .92rem; font-weight: 500; }
.histogram, .curves { display: block; width: 100%; height: auto; }
.axis { fill: none; stroke: var(--soft); stroke-width: 1; opacity: .6; }
.curves .grid { fill: none; stroke: var(--line); stroke-width: 1; }
.line { fill: none; stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round; }
.line.kept { stroke: var(--kept); }
.line.chance { stroke: var(--chance); stroke-dasharray: 5 4; }
svg text { fill: var(--soft); font-size: 11px; }
.histogram text, .curves text { font-size: 13px; }
"""

_TABLES = """
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .95rem; }
table.narrow { max-width: 32rem; }
th, td { padding: .45rem .9rem .45rem 0; text-align: left; border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--soft); font-size: .82rem; font-weight: 500; vertical-align: bottom; }
tbody th { font-weight: 500; }
tbody tr:last-child > * { border-bottom: 0; }
td.n, th.n { text-align: right; white-space: nowrap; }
thead th.n { white-space: normal; }
.chart { width: 40%; min-width: 7rem; }
td.n + .chart, th.n + .chart { padding-left: 1.1rem; }
.pair .bar { height: .42rem; margin: 2px 0; }
.funnel th, .funnel td { padding-top: .28rem; padding-bottom: .28rem; }
.funnel tr > * { border-bottom: 0; }
.funnel .bar { height: 1rem; border-radius: 3px; }
.funnel tbody th { font-weight: 400; white-space: nowrap; }
.total > * { font-weight: 620; }
.funnel .total > th { font-weight: 620; }
table.sources { min-width: 46rem; }
.sources td:last-child { white-space: nowrap; }
.sources .chart { width: 26%; }
.sources .bar { height: 1rem; }
table.shares, table.phases { min-width: 34rem; }
.shares .chart { width: 34%; }
.matrix { font-size: .85rem; }
.matrix th, .matrix td { padding: .3rem .5rem; border-bottom: 1px solid var(--line); }
.matrix th:first-child { position: sticky; left: 0; background: var(--card); white-space: nowrap; }
.heat1 { background: rgba(var(--heat), .1); }
.heat2 { background: rgba(var(--heat), .2); }
.heat3 { background: rgba(var(--heat), .32); }
.heat4 { background: rgba(var(--heat), .45); }
.heat5 { background: rgba(var(--heat), .6); }
.coverage { margin-top: 1.5rem; }
.candidates { margin-top: 1.25rem; }
.chosen > * { font-weight: 620; }
.badge {
  display: inline-block; margin-left: .4rem; padding: 0 .5rem; border-radius: 99px;
  font-size: .75rem; font-weight: 500; border: 1px solid var(--line); color: var(--soft);
}
.badge.good { border-color: var(--kept); color: var(--kept); }
"""

_EXAMPLES = """
details {
  margin-bottom: .6rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px;
}
.warnings details { margin: .3rem 0 0; background: none; border: 0; }
.warnings summary { padding: 0; color: var(--soft); font-size: .9rem; }
.wide + details { margin-top: 1.25rem; }
details .wide { padding: 0 1rem .75rem; }
summary { padding: .7rem 1rem; cursor: pointer; font-weight: 500; }
summary span { float: right; }
summary em { margin-left: .4rem; }
.sides, details li {
  display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: .1rem 1.5rem;
  padding: .7rem 1rem; border-top: 1px solid var(--line);
}
.sides { padding-bottom: 0; color: var(--soft); font-size: .82rem; }
.sides + ol li:first-child { border-top: 0; padding-top: .3rem; }
details ol { margin: 0; padding: 0; list-style: none; }
details p { margin: 0; overflow-wrap: anywhere; }
mark {
  background: var(--mark); color: inherit; border-radius: 3px; padding: 0 .1em;
  box-shadow: inset 0 -2px 0 var(--mark-line);
  -webkit-box-decoration-break: clone; box-decoration-break: clone;
}
@media (max-width: 40rem) {
  main { padding-top: 1.75rem; }
  section { margin-top: 2.25rem; }
  .chart { width: 22%; min-width: 4rem; }
  details li { grid-template-columns: minmax(0, 1fr); }
  .sides, summary em { display: none; }
  th, td { padding-right: .6rem; }
  .funnel { font-size: .85rem; }
  .funnel tbody th { white-space: normal; }
}
@media print { details { break-inside: avoid; } }
"""

STYLE = "".join((_COLOURS, _TEXT, _PICTURES, _TABLES, _EXAMPLES))
