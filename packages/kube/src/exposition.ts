/** Prometheus' text form of instruments and their values. Pure; knows no metric. */
import type { Instrument } from "@oarlock/runtime";
import type { HistogramView } from "./histogram.ts";

export type Labels = Readonly<Record<string, string>>;
/** One series of an instrument. */
export type Sample = readonly [labels: Labels, value: number | HistogramView];

/** All series of one instrument, under its type and meaning. */
export function exposition({ name, kind, description }: Instrument, samples: readonly Sample[]): string {
  const series = samples.flatMap(([labels, value]) =>
    typeof value === "number" ? [line(name, labels, value)] : histogramLines(name, labels, value),
  );
  return [`# HELP ${name} ${description}`, `# TYPE ${name} ${kind}`, ...series, ""].join("\n");
}

function histogramLines(name: string, labels: Labels, { buckets, sum, count }: HistogramView): string[] {
  return [
    ...buckets.map(([bound, within]) => line(`${name}_bucket`, { ...labels, le: goNumber(bound) }, within)),
    line(`${name}_bucket`, { ...labels, le: "+Inf" }, count),
    line(`${name}_sum`, labels, sum),
    line(`${name}_count`, labels, count),
  ];
}

function line(name: string, labels: Labels, value: number): string {
  const inside = Object.entries(labels).map(([label, text]) => `${label}=${JSON.stringify(text)}`);
  return `${name}{${inside.join(",")}} ${goNumber(value)}`;
}

/** Below this Go writes an exponent. */
const SMALL = 1e-4;

/** A number as Go's client writes it: `1e-08`. Labels of buckets are compared as text. */
function goNumber(value: number): string {
  if (value === 0 || Math.abs(value) >= SMALL) return String(value);
  return value.toExponential().replace(/e-(\d)$/, "e-0$1");
}
