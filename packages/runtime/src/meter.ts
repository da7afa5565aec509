/**
 * Measurements as plain types: instruments are data (name, unit, meaning), so that their list is written down from the
 * code; who collects them is not known here. `silentMeter` collects nothing.
 */
import { type Attributes, silentTracer, type Tracer } from "./tracer.ts";

/** What is measured. */
export interface Instrument {
  /** Dotted, without its unit: exporters add that where their format wants it. */
  readonly name: string;
  /** A counter only grows; a gauge is what it is now; a histogram is a distribution. */
  readonly kind: "counter" | "gauge" | "histogram";
  /** UCUM: "s", "By", "1", or a thing in braces: "{token}". */
  readonly unit: string;
  readonly description: string;
  /** Names of the attributes that its values carry. */
  readonly attributes?: readonly string[];
  /** Of a histogram: upper bounds, rising. */
  readonly boundaries?: readonly number[];
}

/** Instruments by a short name, as every `metrics.ts` lists them. */
export type Instruments = Readonly<Record<string, Instrument>>;

/** One value with what tells it from others of its instrument. */
export interface Measurement {
  readonly value: number;
  readonly attributes?: Attributes;
}

/** One value, or several with attributes. */
export type Observed = number | readonly Measurement[];

/** Adds to a counter, or adds a value to a histogram. */
export type Recorder = (value: number, attributes?: Attributes) => void;

/** Takes measurements. Never throws, never waits. */
export interface Meter {
  /** For a counter or a histogram. */
  recorder(instrument: Instrument): Recorder;
  /** For a counter or a gauge whose value is kept elsewhere: `read` is asked at every collection. */
  observe(instrument: Instrument, read: () => Observed | Promise<Observed>): void;
}

/** A meter that collects nothing. */
export const silentMeter: Meter = { recorder: () => () => undefined, observe: () => undefined };

/** What a service is given to speak of itself. */
export interface Telemetry {
  readonly tracer: Tracer;
  readonly meter: Meter;
}

/** Of a service that nobody watches. */
export const silentTelemetry: Telemetry = { tracer: silentTracer, meter: silentMeter };

/** Bounds of histograms of seconds: from a scorer's half millisecond to a step of a large model. */
export const SECONDS_BOUNDARIES: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800,
];
