/**
 * One line chart as inline SVG: raw values thin, their moving average bold, round ticks. Pure; colours come from the
 * page's style sheet, so that it reads in light and dark.
 */
import { formatNumber } from "../terminal/progress.ts";
import { escapeHtml } from "./escape.ts";

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Chart {
  readonly title: string;
  readonly points: readonly Point[];
  /** Draw the points themselves and no average: few, exact values such as evaluations. */
  readonly marks?: boolean;
  /** Without noise, such as a schedule: one line, no average. */
  readonly exact?: boolean;
}

const WIDTH = 360;
const HEIGHT = 190;
const LEFT = 50;
const RIGHT = 12;
const TOP = 12;
const BOTTOM = 26;
/** Points drawn at most; longer runs are thinned by taking means of neighbours. */
const MOST_POINTS = 400;
/** Weight of the past in the moving average, for a run of `MOST_POINTS` steps. */
const SMOOTHING = 0.9;
const TICKS = 4;

/** A figure with a caption that names the last value; says so where there is nothing to draw. */
export function renderChart({ title, points, marks = false, exact = false }: Chart): string {
  const finite = points.filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y));
  const last = finite.at(-1);
  const label = last === undefined ? `${title}: no values` : describe(title, finite);
  const value = last === undefined ? "–" : formatNumber(last.y);
  return renderFigure({ title, value, label }, body(finite, { marks, exact }));
}

export interface Caption {
  readonly title: string;
  /** The number that matters most. */
  readonly value: string;
  /** The whole in words, for those who do not see it. */
  readonly label: string;
}

/** What is drawn, under its caption. */
export function renderFigure({ title, value, label }: Caption, drawn: string): string {
  const caption = `<figcaption><span>${escapeHtml(title)}</span><b>${escapeHtml(value)}</b></figcaption>`;
  const svg = `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeHtml(label)}">${drawn}</svg>`;
  return `<figure class="chart">${caption}${svg}</figure>`;
}

function describe(title: string, points: readonly Point[]): string {
  const values = points.map(({ y }) => y);
  const [first = 0, last = 0] = [values[0], values.at(-1)];
  return `${title}: ${formatNumber(first)} to ${formatNumber(last)} over ${values.length} points`;
}

function body(points: readonly Point[], { marks, exact }: { marks: boolean; exact: boolean }): string {
  if (points.length === 0) {
    return `<text class="tick" x="${WIDTH / 2}" y="${HEIGHT / 2}" text-anchor="middle">no values</text>`;
  }
  const thinned = thin(points);
  const xs = extent(points.map(({ x }) => x));
  const yTicks = ticks(extent(thinned.map(({ y }) => y)));
  const ys = extent([...yTicks, ...thinned.map(({ y }) => y)]);
  const place = placeWithin(xs, ys);
  const line = (name: string, path: readonly Point[]) =>
    `<polyline class="${name}" points="${path
      .map(place)
      .map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`)
      .join(" ")}"/>`;
  const dots = thinned
    .map(place)
    .map(({ x, y }) => `<circle class="dot" cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="3"/>`);
  const noisy = [line("raw", thinned), line("average", smooth(thinned))];
  const dotted = marks || points.length < 8 ? dots : [];
  const curve = exact || dotted.length > 0 ? [line("average", thinned), ...dotted] : noisy;
  return [...axes(xs, yTicks, place), ...curve].join("");
}

export type Range = readonly [number, number];

/** From values to places of the drawing. */
export function placeWithin(xs: Range, ys: Range): (point: Point) => Point {
  return ({ x, y }) => ({
    x: LEFT + scale(x, xs) * (WIDTH - LEFT - RIGHT),
    y: HEIGHT - BOTTOM - scale(y, ys) * (HEIGHT - TOP - BOTTOM),
  });
}

/** Lines at the ticks, and what the ends of the horizontal axis are. */
export function axes(
  [left, right]: Range,
  yTicks: readonly number[],
  place: (point: Point) => Point,
): string[] {
  const grid = yTicks.map((tick) => {
    const { y } = place({ x: left, y: tick });
    const text = `<text class="tick" x="${LEFT - 6}" y="${(y + 3.5).toFixed(1)}" text-anchor="end">${formatTick(tick)}</text>`;
    return `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y.toFixed(1)}" y2="${y.toFixed(1)}"/>${text}`;
  });
  const base = HEIGHT - 8;
  const start = `<text class="tick" x="${LEFT}" y="${base}">${formatTick(left)}</text>`;
  const end = `<text class="tick" x="${WIDTH - RIGHT}" y="${base}" text-anchor="end">${formatTick(right)}</text>`;
  return [...grid, start, ...(right > left ? [end] : [])];
}

function formatTick(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e7 || (size < 1e-3 && size > 0)) return value.toExponential(0);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  return Number(value.toPrecision(3)).toString();
}

function extent(values: readonly number[]): Range {
  return values.reduce<Range>(
    ([least, most], value) => [Math.min(least, value), Math.max(most, value)],
    [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  );
}

function scale(value: number, [least, most]: Range): number {
  return most === least ? 0.5 : (value - least) / (most - least);
}

/** About `TICKS` round values (1, 2 or 5 × 10^n apart) that span the range. */
export function ticks([least, most]: Range): number[] {
  if (!(most > least)) return [least];
  const rough = (most - least) / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10);
  const first = Math.floor(least / step + 1e-9);
  const count = Math.ceil(most / step - 1e-9) - first;
  return Array.from({ length: count + 1 }, (_, at) => Number(((first + at) * step).toPrecision(12)));
}

/** Means of equal runs of neighbours where there are more points than can be seen. */
function thin(points: readonly Point[]): readonly Point[] {
  if (points.length <= MOST_POINTS) return points;
  const size = points.length / MOST_POINTS;
  return Array.from({ length: MOST_POINTS }, (_, at) => {
    const part = points.slice(Math.floor(at * size), Math.floor((at + 1) * size));
    const mean = (of: (point: Point) => number) =>
      part.reduce((sum, point) => sum + of(point), 0) / part.length;
    return { x: mean(({ x }) => x), y: mean(({ y }) => y) };
  });
}

/** Exponential moving average; shorter runs are smoothed less. */
function smooth(points: readonly Point[]): readonly Point[] {
  const past = Math.min(SMOOTHING, Math.max(0, 1 - 8 / points.length));
  let average = points[0]?.y ?? 0;
  return points.map(({ x, y }) => {
    average = past * average + (1 - past) * y;
    return { x, y: average };
  });
}
