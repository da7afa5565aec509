/**
 * The live line of a run: step, reward with its trend, KL, speed, time left, entropy, and the trend as bars. A narrow terminal
 * shows the beginning of it. Pure: state in, text out; the caller writes it and decides when.
 */
import { PLAIN, type TextStyle } from "./style.ts";

/** What the live line is made from: metrics of the steps of the running stage so far. */
export interface Progress {
  readonly stage: string;
  readonly step: number;
  readonly steps: number;
  /** Metrics of each step, oldest first; the last `HISTORY` are enough. */
  readonly history: readonly Readonly<Record<string, number>>[];
  /** Seconds since the stage began. */
  readonly elapsedSeconds: number;
  /** Steps done in that time (fewer than `step` after a resume). */
  readonly stepsInSitting: number;
}

/** Steps of history that the line looks at. */
export const HISTORY: number = 24;
const BARS = "▁▂▃▄▅▆▇█";

const METRICS = {
  reward: ["critic/score/mean", "critic/rewards/mean"],
  loss: ["train/loss", "actor/loss", "actor/pg_loss"],
  kl: ["actor/kl_loss", "actor/reward_kl_penalty", "actor/ppo_kl"],
  entropy: ["actor/entropy"],
  speed: ["perf/throughput"],
} as const;

type Shown = keyof typeof METRICS;

/** The first of a metric's names that a step has. */
export function metricOf(metrics: Readonly<Record<string, number>>, shown: Shown): number | undefined {
  const name = METRICS[shown].find((candidate) => metrics[candidate] !== undefined);
  return name === undefined ? undefined : metrics[name];
}

/** One line, e.g. `grpo 12/200  reward 0.41 +0.03  kl 0.012  4,300 tok/s  2 min 10 s left  entropy 1.20  ▁▂▅`. */
export function progressLine(progress: Progress, style: TextStyle = PLAIN): string {
  const last = progress.history.at(-1) ?? {};
  const rewards = series(progress, "reward");
  const [label, values] = rewards.length > 0 ? ["reward", rewards] : ["loss", series(progress, "loss")];
  const parts = [
    `${style.bold(progress.stage)} ${progress.step}/${progress.steps}`,
    trended(label, values, style),
    labelled("kl", metricOf(last, "kl"), style),
    speed(metricOf(last, "speed")),
    style.dim(`${timeLeft(progress)} left`),
    labelled("entropy", metricOf(last, "entropy"), style),
    sparkline(values),
  ];
  return parts.filter((part) => part !== "").join("  ");
}

/** A step by itself, e.g. `grpo 12/200  reward 0.41  kl 0.012  entropy 1.20  4,300 tok/s`. */
export function stepLine(
  { stage, step, steps, metrics }: Pick<Progress, "stage" | "step" | "steps"> & MetricsOf,
  style: TextStyle = PLAIN,
): string {
  const what = metricOf(metrics, "reward") === undefined ? "loss" : "reward";
  const parts = [
    `${style.bold(stage)} ${step}/${steps}`,
    labelled(what, metricOf(metrics, what), style),
    labelled("kl", metricOf(metrics, "kl"), style),
    labelled("entropy", metricOf(metrics, "entropy"), style),
    speed(metricOf(metrics, "speed")),
  ];
  return parts.filter((part) => part !== "").join("  ");
}

interface MetricsOf {
  readonly metrics: Readonly<Record<string, number>>;
}

function series({ history }: Progress, shown: Shown): number[] {
  return history
    .slice(-HISTORY)
    .map((metrics) => metricOf(metrics, shown))
    .filter((value) => value !== undefined);
}

function trended(label: string, values: readonly number[], style: TextStyle): string {
  const last = values.at(-1);
  if (last === undefined) return "";
  const change = trendOf(values);
  const mark = change === undefined ? "" : ` ${change < 0 ? "−" : "+"}${formatNumber(Math.abs(change))}`;
  return `${style.dim(label)} ${style.accent(formatNumber(last))}${style.dim(mark)}`;
}

/** Mean of the newer half less mean of the older half; undefined below four values. */
export function trendOf(values: readonly number[]): number | undefined {
  const finite = values.filter(Number.isFinite);
  if (finite.length < 4) return undefined;
  const half = Math.floor(finite.length / 2);
  const mean = (part: readonly number[]) => part.reduce((sum, value) => sum + value, 0) / part.length;
  return mean(finite.slice(-half)) - mean(finite.slice(0, half));
}

function labelled(label: string, value: number | undefined, style: TextStyle): string {
  return value === undefined ? "" : `${style.dim(label)} ${formatNumber(value)}`;
}

function speed(tokensPerSecond: number | undefined): string {
  if (tokensPerSecond === undefined) return "";
  return `${Math.round(tokensPerSecond).toLocaleString("en-US")} tok/s`;
}

function timeLeft({ step, steps, elapsedSeconds, stepsInSitting }: Progress): string {
  if (stepsInSitting === 0) return "unknown time";
  return shortDuration(((steps - step) * elapsedSeconds) / stepsInSitting);
}

/** `45 s`, `2 min 10 s`, `3 h 5 min`. */
export function shortDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Bars from the least to the largest value; a value that is not finite is `!`. */
export function sparkline(values: readonly number[]): string {
  const finite = values.filter(Number.isFinite);
  const [least, most] = [Math.min(...finite), Math.max(...finite)];
  const level = (value: number) =>
    most === least ? 0 : Math.round(((value - least) / (most - least)) * (BARS.length - 1));
  return values.map((value) => (Number.isFinite(value) ? (BARS[level(value)] ?? "") : "!")).join("");
}

/** Three significant digits, without exponents where they only hurt. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6 || size < 1e-4) return value.toExponential(1);
  if (size >= 100) return Math.round(value).toLocaleString("en-US");
  return value.toPrecision(3);
}
