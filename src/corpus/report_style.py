"""The style sheet of report.html: light or dark as the reader's system is, and readable on a phone.

Colour carries one meaning each: teal is what was kept, sand what was there before, rust what was
lost.
"""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #faf9f6; --card: #ffffff; --ink: #20262b; --soft: #66707a; --line: #e4e1da;
  --kept: #1f8072; --spare: #d5cdbd; --lost: #c2603a; --notice: #fdf3e1; --notice-line: #e6b65c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181b; --card: #1b2125; --ink: #e6e8ea; --soft: #98a2ab; --line: #2d353b;
    --kept: #43b3a1; --spare: #4d555c; --lost: #e08560; --notice: #2b2519; --notice-line: #a9803a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "PingFang SC",
    "Microsoft YaHei", "Noto Sans CJK SC", sans-serif;
  font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100%;
}
main { max-width: 60rem; margin: 0 auto; padding: 3rem 1.25rem 5rem; }
header { margin-bottom: 2rem; }
.brand { margin: 0; color: var(--kept); font-weight: 600; letter-spacing: .02em; }
h1 { margin: 0; font-size: 2rem; line-height: 1.2; letter-spacing: -.02em; font-weight: 650; }
h2 { margin: 0 0 1rem; font-size: 1.15rem; letter-spacing: -.01em; font-weight: 620; }
section { margin-top: 3rem; }
small, .legend span, summary span { color: var(--soft); font-size: .85rem; font-weight: 400; }
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
.bar { display: block; width: 100%; height: .7rem; border-radius: 4px; }
.track { fill: var(--line); opacity: .55; }
rect.kept, .after { fill: var(--kept); }
rect.spare, .before { fill: var(--spare); }
rect.lost { fill: var(--lost); }
.after { opacity: .82; }
.flow { margin-bottom: 1.75rem; }
.flow .bar { height: 1.5rem; border-radius: 6px; }
.legend {
  display: flex; flex-wrap: wrap; gap: .35rem 1.5rem; margin: .75rem 0 0; padding: 0;
  list-style: none; font-size: .92rem;
}
.legend i {
  display: inline-block; width: .75rem; height: .75rem; margin-right: .45rem; border-radius: 3px;
}
.legend b { font-weight: 620; }
i.kept { background: var(--kept); }
i.spare { background: var(--spare); }
i.lost { background: var(--lost); }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .95rem; }
table.narrow { max-width: 32rem; }
th, td { padding: .5rem .9rem .5rem 0; text-align: left; border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--soft); font-size: .82rem; font-weight: 500; vertical-align: bottom; }
tbody th { font-weight: 500; }
tbody tr:last-child > * { border-bottom: 0; }
.n { text-align: right; white-space: nowrap; }
.chart { width: 42%; min-width: 7rem; }
table.sources { min-width: 42rem; }
.sources .chart { width: 30%; }
.pair small { white-space: nowrap; }
td.n + .chart, th.n + .chart { padding-left: 1.1rem; }
tbody th { width: 26%; }
table.narrow tbody th { width: auto; }
.pair .bar { height: .4rem; margin-bottom: 3px; }
.grid {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
  gap: 1rem; margin-top: 1rem;
}
figure {
  margin: 0; padding: 1rem 1.1rem .6rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 12px;
}
figcaption { margin-bottom: .5rem; font-size: .92rem; font-weight: 500; }
.histogram { display: block; width: 100%; height: auto; }
.axis { fill: none; stroke: var(--soft); stroke-width: 1; opacity: .6; }
.histogram text { fill: var(--soft); font-size: 11px; }
details {
  margin-bottom: .6rem; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px;
}
summary { padding: .7rem 1rem; cursor: pointer; font-weight: 500; }
summary span { float: right; }
details ol { margin: 0; padding: 0; list-style: none; }
details li {
  display: grid; grid-template-columns: 1fr 1fr; gap: .1rem 1.5rem; padding: .7rem 1rem;
  border-top: 1px solid var(--line);
}
details p { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  main { padding-top: 1.75rem; }
  section { margin-top: 2.25rem; }
  .chart { width: 25%; min-width: 4rem; }
  details li { grid-template-columns: 1fr; }
  th, td { padding-right: .6rem; }
}
@media print { details { break-inside: avoid; } }
"""
