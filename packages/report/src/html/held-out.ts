/**
 * What held-out rows say of a reward model, as its stage's evaluation recorded it: how far the right side is ahead, and whether its
 * probabilities can be believed. Pure.
 */
import type { MetricsRecord } from "../records.ts";
import { formatNumber } from "../terminal/progress.ts";
import { axes, placeWithin, type Point, type Range, renderFigure, ticks } from "./chart.ts";
import { escapeHtml } from "./escape.ts";

type Numbers = Readonly<Record<string, number>>;

/** Shown beside the accuracy, by name behind `val-aux/<stage>/`. */
const SAID: readonly (readonly [string, string])[] = [
  ["calibration_error", "calibration error"],
  ["loss", "loss"],
  ["margin", "mean lead"],
  ["accuracy_right", "accuracy on right steps"],
  ["accuracy_wrong", "accuracy on wrong steps"],
  ["f1_wrong", "F1 of finding wrong steps"],
  ["right_fraction", "share of right steps"],
];
/** How many of what. */
const COUNTED = ["pairs", "steps", "answers"] as const;

/** Charts of a reward model's stage, and its numbers in a line; nothing of another stage. */
export function heldOutParts(
  stage: string,
  records: readonly MetricsRecord[],
): { readonly charts: readonly string[]; readonly numbers: string } {
  const metrics = records.findLast(({ kind, when }) => kind === "evaluation" && when === "after")?.metrics;
  const bars = metrics === undefined ? [] : barsOf(metrics, `val-aux/${stage}/margins/`);
  if (metrics === undefined || bars.length === 0) return { charts: [], numbers: "" };
  const bins = binsOf(metrics, `val-aux/${stage}/reliability/`);
  const ofSteps = metrics[`val-aux/${stage}/steps`] !== undefined;
  const title = ofSteps ? "Lead of the right verdict (held-out steps)" : "Lead R_w − R_l (held-out pairs)";
  const charts = [histogram(title, bars), ...(bins.length === 0 ? [] : [reliability(bins)])];
  return { charts, numbers: `<p class="numbers">${escapeHtml(numbersOf(stage, metrics))}</p>` };
}

function numbersOf(stage: string, metrics: Numbers): string {
  const prefix = `val-core/held-out/${stage}/`;
  const accuracy = `${prefix}accuracy`;
  const number = (name: string): string => formatNumber(metrics[name] ?? Number.NaN);
  const balanced = metrics[`${prefix}balanced_accuracy`];
  const said = SAID.flatMap(([name, words]) => {
    const value = metrics[`val-aux/${stage}/${name}`];
    return value === undefined ? [] : [`${words} ${formatNumber(value)}`];
  });
  const counted = COUNTED.flatMap((what) => {
    const value = metrics[`val-aux/${stage}/${what}`];
    return value === undefined ? [] : [`${value.toLocaleString("en-US")} ${what}`];
  });
  return [
    `Held out: accuracy ${number(accuracy)} (95 %: ${number(`${accuracy}/ci_low`)} to ${number(`${accuracy}/ci_high`)})`,
    ...(balanced === undefined ? [] : [`balanced accuracy ${formatNumber(balanced)}`]),
    ...said,
    ...counted,
  ].join(", ");
}

interface Bar {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

/** Of equal width, as they were recorded; the last ends where another one would begin. */
function barsOf(metrics: Numbers, prefix: string): readonly Bar[] {
  const found = Object.entries(metrics)
    .flatMap(([name, count]) =>
      name.startsWith(prefix) ? [{ from: Number(name.slice(prefix.length)), count }] : [],
    )
    .filter(({ from, count }) => Number.isFinite(from) && Number.isFinite(count))
    .toSorted((left, right) => left.from - right.from);
  const [first, second] = found;
  const width = first === undefined || second === undefined ? 1 : second.from - first.from;
  return found.map(({ from, count }, at) => ({ from, to: found[at + 1]?.from ?? from + width, count }));
}

function histogram(title: string, bars: readonly Bar[]): string {
  const most = Math.max(1, ...bars.map(({ count }) => count));
  const yTicks = ticks([0, most]);
  const xs: Range = [bars[0]?.from ?? 0, bars.at(-1)?.to ?? 1];
  const place = placeWithin(xs, [0, yTicks.at(-1) ?? most]);
  const drawn = bars.map(({ from, to, count }) => {
    const [start, end] = [place({ x: from, y: count }), place({ x: to, y: 0 })];
    const size = `width="${(end.x - start.x - 1).toFixed(1)}" height="${(end.y - start.y).toFixed(1)}"`;
    return `<rect class="${(from + to) / 2 < 0 ? "behind" : "ahead"}" x="${start.x.toFixed(1)}" y="${start.y.toFixed(1)}" ${size}/>`;
  });
  const zero =
    xs[0] < 0 && xs[1] > 0
      ? [
          line(
            "zero",
            [
              { x: 0, y: 0 },
              { x: 0, y: yTicks.at(-1) ?? most },
            ].map(place),
          ),
        ]
      : [];
  const total = bars.reduce((sum, { count }) => sum + count, 0);
  const label = `${title}: ${total} from ${formatNumber(xs[0])} to ${formatNumber(xs[1])}`;
  const caption = { title, value: total.toLocaleString("en-US"), label };
  return renderFigure(caption, [...axes(xs, yTicks, place), ...drawn, ...zero].join(""));
}

interface Bin {
  readonly confidence: number;
  readonly accuracy: number;
  readonly count: number;
}

function binsOf(metrics: Numbers, prefix: string): readonly Bin[] {
  const bins = Object.keys(metrics).flatMap((name) => {
    if (!name.startsWith(prefix) || !name.endsWith("/count")) return [];
    const of = (what: string): number => metrics[name.replace(/count$/, what)] ?? Number.NaN;
    return [{ confidence: of("confidence"), accuracy: of("accuracy"), count: of("count") }];
  });
  return bins
    .filter(({ confidence, accuracy }) => Number.isFinite(confidence) && Number.isFinite(accuracy))
    .toSorted((left, right) => left.confidence - right.confidence);
}

const SMALLEST_RADIUS = 2;
const LARGEST_RADIUS = 9;

/** How often a bin is right, against how sure it was; the larger, the more of the rows. On the line both are one. */
function reliability(bins: readonly Bin[]): string {
  const xs: Range = [0.5, 1];
  const yTicks = ticks([Math.min(0.5, ...bins.map(({ accuracy }) => accuracy)), 1]);
  const place = placeWithin(xs, [yTicks[0] ?? 0, yTicks.at(-1) ?? 1]);
  const total = bins.reduce((sum, { count }) => sum + count, 0);
  const dots = bins.map(({ confidence, accuracy, count }) => {
    const { x, y } = place({ x: confidence, y: accuracy });
    const radius =
      SMALLEST_RADIUS + (LARGEST_RADIUS - SMALLEST_RADIUS) * Math.sqrt(count / Math.max(1, total));
    return `<circle class="dot" cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="${radius.toFixed(1)}"/>`;
  });
  const ideal = line(
    "ideal",
    [
      { x: 0.5, y: 0.5 },
      { x: 1, y: 1 },
    ].map(place),
  );
  const title = "Accuracy against confidence";
  const value = `${bins.length} bins`;
  return renderFigure(
    { title, value, label: `${title}: ${value}` },
    [...axes(xs, yTicks, place), ideal, ...dots].join(""),
  );
}

function line(name: string, points: readonly Point[]): string {
  return `<polyline class="${name}" points="${points.map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ")}"/>`;
}
