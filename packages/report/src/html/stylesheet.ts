/** The report's style sheet: light and dark by the reader's setting, print, narrow screens. */

/** CSS of the page; the page loads nothing else. */
export const STYLESHEET: string = `
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #16202c; --soft: #5b6875; --line: #dfe4ea;
  --accent: #0b66c3; --faint: #9cc3ec; --good: #13795b; --bad: #b42318; --mono: ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
@media (prefers-color-scheme: dark) { :root { --page: #0f151c; --card: #17202a; --ink: #e6ebf1; --soft: #93a1b0; --line: #2a3643;
  --accent: #64b1ff; --faint: #2f5f8f; --good: #4cc79a; --bad: #ff8a7d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 24px 64px; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 14px; margin-bottom: 20px; }
h1 { font-size: 26px; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 18px; margin: 40px 0 12px; }
h2 small { font-weight: 400; color: var(--soft); font-size: 14px; margin-left: 8px; }
.status { font-size: 13px; padding: 2px 10px; border-radius: 999px; border: 1px solid currentColor; }
.completed { color: var(--good); } .stopped { color: var(--soft); } .failed { color: var(--bad); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.facts div { padding: 12px 16px; } .facts dt { color: var(--soft); font-size: 13px; } .facts dd { margin: 0; font-size: 18px; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.facts dd.mono { font-size: 13px; font-family: var(--mono); padding-top: 4px; }
dl { margin: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 14px; }
.chart { margin: 0; padding: 10px 12px 4px; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.chart figcaption { display: flex; justify-content: space-between; font-size: 13px; color: var(--soft); }
.chart b { color: var(--ink); font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; height: auto; }
.tick { fill: var(--soft); font-size: 11px; } .grid { stroke: var(--line); stroke-width: 1; }
polyline { fill: none; stroke-linejoin: round; stroke-linecap: round; }
.raw { stroke: var(--faint); stroke-width: 1; } .average { stroke: var(--accent); stroke-width: 2; } .dot { fill: var(--accent); }
.ahead { fill: var(--accent); } .behind { fill: var(--bad); } .zero, .ideal { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 3 3; }
.numbers { color: var(--soft); font-size: 14px; margin: 0 0 12px; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: left; padding: 8px 14px; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; } th { color: var(--soft); font-weight: 500; font-size: 13px; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td small { color: var(--soft); } .up { color: var(--good); } .down { color: var(--bad); }
pre, code, .text { font-family: var(--mono); font-size: 13px; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; }
.sample { padding: 14px 16px; margin-bottom: 12px; } .sample .prompt { margin-bottom: 10px; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 14px; } .pair > div { border-left: 3px solid var(--line); padding-left: 12px; min-width: 0; }
.pair .after { border-color: var(--accent); } .label { color: var(--soft); font-size: 12px; margin-bottom: 2px; }
.plan td:first-child, .plan td:nth-child(2) { font-family: var(--mono); font-size: 12.5px; overflow-wrap: anywhere; }
details summary { cursor: pointer; padding: 12px 16px; color: var(--soft); } details .scroll { border-top: 1px solid var(--line); }
.notice { padding: 12px 16px; margin: 0 0 16px; border-left: 4px solid var(--bad); }
footer { color: var(--soft); font-size: 13px; margin-top: 40px; }
@media (max-width: 640px) { .pair { grid-template-columns: 1fr; } main { padding: 20px 14px; } }
@media print { body { background: #fff; } details { display: block; } .chart, .sample { break-inside: avoid; } }
`;
