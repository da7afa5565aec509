/**
 * `report.html`: one page that explains a run, with no script and no resource from elsewhere. Pure: data in, text out.
 *
 * Everything that a model or a user wrote passes `escapeHtml`; the page's policy forbids scripts and requests besides.
 */
import { evaluationValues, type EvaluationValue } from "../evaluation-metrics.ts";
import type { MetricsRecord, SampleRecord } from "../records.ts";
import type { RunSummary, StageSummary } from "../summary.ts";
import { formatNumber, shortDuration } from "../terminal/progress.ts";
import { pairSamples, type SamplePair } from "../terminal/samples.ts";
import { renderChart } from "./chart.ts";
import { stageCharts } from "./curves.ts";
import { escapeHtml } from "./escape.ts";
import { heldOutParts } from "./held-out.ts";
import { STYLESHEET } from "./stylesheet.ts";

/** One value of the resolved plan and where it came from, as text. */
export interface PlanRow {
  readonly path: string;
  readonly value: string;
  readonly origin: string;
}

export interface ReportInput {
  readonly summary: RunSummary;
  readonly records: readonly MetricsRecord[];
  readonly samples: readonly SampleRecord[];
  readonly plan: readonly PlanRow[];
  /** Trainable parameters. */
  readonly parameters: number;
}

/** Pairs of samples shown. */
const SHOWN_PAIRS = 12;
/** Nothing is loaded or run, whatever a sample says. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/** The whole page. */
export function renderReport(input: ReportInput): string {
  const { summary, records, samples } = input;
  const title = `${escapeHtml(summary.name)} · Oarlock`;
  const stages = summary.stages.map((stage) =>
    stageSection(
      stage,
      records.filter((record) => record.stage === stage.name),
    ),
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<title>${title}</title>
<style>${STYLESHEET}</style>
</head>
<body>
<main>
${headSection(summary)}
${factsSection(input)}
${evaluationSection(summary)}
${stages.join("\n")}
${samplesSection(pairSamples(samples, SHOWN_PAIRS))}
${planSection(input.plan)}
<footer>Plan ${escapeHtml(summary.planDigest)}</footer>
</main>
</body>
</html>
`;
}

function headSection(summary: RunSummary): string {
  const { name, status, reason, alarms = [], reproducible, irreproducibleBecause } = summary;
  const notices = [
    ...(reason === undefined ? [] : [reason]),
    ...alarms.map(
      ({ stage, step, message, reaction }) => `Alarm in ${stage}, step ${step}: ${message} (${reaction})`,
    ),
    ...(reproducible ? [] : [`Not reproducible: ${irreproducibleBecause ?? "unknown reason"}`]),
  ];
  const shown = notices.map((notice) => `<p class="card notice">${escapeHtml(notice)}</p>`).join("");
  return `<header><h1>${escapeHtml(name)}</h1><span class="status ${status}">${status}</span></header>${shown}`;
}

function factsSection({ summary, parameters }: ReportInput): string {
  const facts: readonly (readonly [string, string, string?])[] = [
    ["Parameters", parameters.toLocaleString("en-US")],
    ["Steps", summary.steps.toLocaleString("en-US")],
    ["Time", shortDuration(summary.seconds)],
    ["Policy version", String(summary.policy.version)],
    ["SHA-256 of the weights", summary.policy.digest, "mono"],
  ];
  const cells = facts.map(
    ([label, value, kind = ""]) =>
      `<div><dt>${escapeHtml(label)}</dt><dd class="${kind}">${escapeHtml(value)}</dd></div>`,
  );
  return `<dl class="card facts">${cells.join("")}</dl>`;
}

/** A row per statistic and a column per point in time: before, and after each stage. */
function evaluationSection({ stages }: RunSummary): string {
  const first = stages.find(({ before }) => before !== undefined);
  const columns = [
    ...(first?.before === undefined
      ? []
      : [{ label: `before ${first.name}`, metrics: first.before.metrics }]),
    ...stages.flatMap(({ name, after }) =>
      after === undefined ? [] : [{ label: `after ${name}`, metrics: after.metrics }],
    ),
  ];
  if (columns.length === 0) return "";
  const values = columns.map(({ metrics }) => evaluationValues(metrics));
  const names = [...new Set(values.flat().map(({ name }) => name))];
  const head = columns.map(({ label }) => `<th class="number">${escapeHtml(label)}</th>`).join("");
  const rows = names.map((name) =>
    evaluationRow(
      name,
      values.map((column) => column.find((value) => value.name === name)),
    ),
  );
  const table = `<table><thead><tr><th>Held-out</th>${head}<th class="number">change</th></tr></thead><tbody>${rows.join("")}</tbody></table>`;
  return `<h2>Evaluation <small>with 95 % confidence intervals</small></h2><div class="card scroll">${table}</div>`;
}

function evaluationRow(name: string, values: readonly (EvaluationValue | undefined)[]): string {
  const cells = values.map(
    (value) => `<td class="number">${value === undefined ? "–" : evaluationCell(value)}</td>`,
  );
  const label = escapeHtml(name.replace("val-core/", ""));
  const known = values.flatMap((value) => (value === undefined ? [] : [value.value]));
  return `<tr><td>${label}</td>${cells.join("")}${changeCell(known)}</tr>`;
}

/** From the first value to the last. */
function changeCell([first = 0, ...later]: readonly number[]): string {
  const last = later.at(-1);
  if (last === undefined) return `<td class="number">–</td>`;
  const change = last - first;
  if (change === 0) return `<td class="number">0</td>`;
  const [mark, sign] = change > 0 ? ["up", "+"] : ["down", "−"];
  return `<td class="number ${mark}">${sign}${formatNumber(Math.abs(change))}</td>`;
}

function evaluationCell({ value, low, high }: EvaluationValue): string {
  const interval =
    low === undefined || high === undefined
      ? ""
      : ` <small>${formatNumber(low)} to ${formatNumber(high)}</small>`;
  return `${formatNumber(value)}${interval}`;
}

function stageSection(stage: StageSummary, records: readonly MetricsRecord[]): string {
  const { name, steps, seconds, before } = stage;
  const heldOut = heldOutParts(name, records);
  const charts = [...heldOut.charts, ...stageCharts(records, before).map(renderChart)];
  const note = `${steps} steps${seconds > 0 ? `, ${shortDuration(seconds)}` : ""}`;
  const body =
    charts.length === 0 ? `<p class="card notice">This stage has no steps yet.</p>` : charts.join("\n");
  return `<h2>Stage ${escapeHtml(name)} <small>${note}</small></h2>${heldOut.numbers}<div class="charts">${body}</div>`;
}

function samplesSection(pairs: readonly SamplePair[]): string {
  if (pairs.length === 0) return "";
  return `<h2>Samples <small>the same held-out prompts, before and after</small></h2>${pairs.map(pairSection).join("\n")}`;
}

function pairSection({ prompt, answer, before, after }: SamplePair): string {
  const wanted =
    answer === undefined ? "" : `<div class="label">wanted: <code>${escapeHtml(answer)}</code></div>`;
  const sides = `${sampleSide("before", before)}${sampleSide("after", after)}`;
  return `<div class="card sample"><div class="prompt text">${escapeHtml(prompt)}</div>${wanted}<div class="pair">${sides}</div></div>`;
}

function sampleSide(label: "before" | "after", sample: SampleRecord | undefined): string {
  if (sample === undefined)
    return `<div class="${label}"><div class="label">${label}: not sampled</div></div>`;
  const reward =
    sample.total === null
      ? `scoring failed${sample.failure === undefined ? "" : `: ${escapeHtml(sample.failure)}`}`
      : `reward ${formatNumber(sample.total)}`;
  return `<div class="${label}"><div class="label">${label} · ${reward}</div><div class="text">${escapeHtml(sample.completion)}</div></div>`;
}

function planSection(plan: readonly PlanRow[]): string {
  const rows = plan.map(
    ({ path, value, origin }) =>
      `<tr><td>${escapeHtml(path)}</td><td>${escapeHtml(value)}</td><td>${escapeHtml(origin)}</td></tr>`,
  );
  const head = "<thead><tr><th>Field</th><th>Value</th><th>From</th></tr></thead>";
  return `<h2>Plan</h2><details class="card"><summary>${plan.length} values, each with its origin</summary><div class="scroll"><table class="plan">${head}<tbody>${rows.join("")}</tbody></table></div></details>`;
}
