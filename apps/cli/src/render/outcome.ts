/** What a run came to, as text: evaluations, the before-and-after table, where things lie. Pure. */
import {
  type EvaluationValue,
  evaluationValues,
  formatNumber,
  pairSamples,
  renderPairs,
  safeText,
  type RunSummary,
  type SampleRecord,
  shortDuration,
  type Spread,
  type TextStyle,
} from "@oarlock/report";
import { renderTable } from "./table.ts";

/** Pairs of samples shown after a run. */
const SHOWN_PAIRS = 4;

/** What follows from a guard's alarm, in words. */
export const REACTIONS: Readonly<Record<string, string>> = {
  stop: "the run stops",
  "roll-back": "the stage ends with its last good policy",
  "raise-beta": "the KL coefficient is raised",
};

/** A line for each guard that fired; "" where none did. */
function renderAlarms({ alarms = [] }: RunSummary, style: TextStyle): string {
  return alarms
    .map(({ stage, step, message, reaction }) =>
      style.bad(`alarm    ${stage} step ${step}: ${message}; ${REACTIONS[reaction] ?? reaction}`),
    )
    .join("\n");
}

interface Evaluated {
  readonly stage: string;
  readonly when: string;
  readonly step: number;
  readonly metrics: Readonly<Record<string, number>>;
}

/** One line per evaluation. */
export function renderEvaluation({ stage, when, step, metrics }: Evaluated, style: TextStyle): string {
  const values = evaluationValues(metrics).map(
    ({ statistic, value }) => `${statistic} ${style.accent(formatNumber(value))}`,
  );
  if (values.length === 0) values.push(style.bad("no sample could be scored"));
  const place = when === "step" ? `${stage} step ${step}` : `${when} ${stage}`;
  return `${style.dim("evaluation")} ${place}: ${values.join("  ")}`;
}

/** Held-out statistics, a column per point in time; "" where nothing was evaluated. */
export function renderEvaluations({ stages }: Pick<RunSummary, "stages">): string {
  const first = stages.find(({ before }) => before !== undefined);
  const columns = [
    ...(first?.before === undefined
      ? []
      : [{ title: `before ${first.name}`, metrics: first.before.metrics }]),
    ...stages.flatMap(({ name, after }) =>
      after === undefined ? [] : [{ title: `after ${name}`, metrics: after.metrics }],
    ),
  ];
  if (columns.length === 0) return "";
  const values = columns.map(({ metrics }) => evaluationValues(metrics));
  const names = [...new Set(values.flat().map(({ name }) => name))];
  const rows = names.map((name) => [
    name.replace("val-core/", ""),
    ...values.map((column) => cell(column.find((value) => value.name === name))),
  ]);
  return renderTable(
    [{ title: "held-out" }, ...columns.map(({ title }) => ({ title, align: "right" as const }))],
    rows,
  );
}

function cell(value: EvaluationValue | undefined): string {
  if (value === undefined) return "–";
  const { low, high } = value;
  const interval =
    low === undefined || high === undefined ? "" : ` (${formatNumber(low)} to ${formatNumber(high)})`;
  return `${formatNumber(value.value)}${interval}`;
}

export interface OutcomeView {
  readonly summary: RunSummary;
  readonly samples: readonly SampleRecord[];
  /** What to type next, where the run did not complete. */
  readonly next: readonly string[];
  readonly report: string;
  readonly width: number;
  readonly style: TextStyle;
}

/** The last words of a run. */
export function renderOutcome({ summary, samples, next, report, width, style }: OutcomeView): string {
  const { status, steps, seconds, policy, reason } = summary;
  const word =
    status === "completed"
      ? style.good(status)
      : status === "failed"
        ? style.bad(status)
        : style.bold(status);
  const parts = [
    renderEvaluations(summary),
    renderPairs(pairSamples(samples, SHOWN_PAIRS), width, style),
    renderAlarms(summary, style),
    [
      `${style.bold(summary.name)} ${word}: ${steps} steps in ${shortDuration(seconds)}, policy ${policy.version}${reason === undefined ? "" : `\n${safeText(reason)}`}`,
      ...(policy.digest === "" ? [] : [`weights  ${policy.digest}`]),
      `report   ${report}`,
      ...(status === "completed" ? [] : next),
    ].join("\n"),
  ];
  return parts.filter((part) => part !== "").join("\n\n");
}

/** A table of several seeds: mean and spread of each number. */
export function renderSpreads(spreads: ReadonlyMap<string, Spread>): string {
  const columns = [
    { title: "over seeds" },
    ...["mean", "std", "least", "most", "runs"].map((title) => ({ title, align: "right" as const })),
  ];
  const rows = [...spreads].map(([name, { mean, standardDeviation, least, most, count }]) => [
    name,
    ...[mean, standardDeviation, least, most].map(formatNumber),
    String(count),
  ]);
  return renderTable(columns, rows);
}
