/**
 * One generation as spans and measurements: the wait for a slot, the prefill, the decoding. The generator says how long
 * each took, not when: they are laid out backwards from the moment of its answer.
 */
import type { Completion, CompletionTiming } from "@oarlock/generation";
import type { Attributes, Recorder, TraceContext, Tracer } from "@oarlock/runtime";

interface Part {
  readonly name: string;
  readonly ms: number;
  readonly attributes?: Attributes;
}

/** Adds the parts of a generation that was answered at `endMs` as children of `parent`. */
export function partSpans(
  tracer: Tracer,
  parent: TraceContext | undefined,
  completions: readonly Completion[],
  endMs: number,
): void {
  if (parent === undefined) return;
  let atMs = endMs;
  for (const { name, ms, attributes = {} } of partsOf(completions).toReversed()) {
    const startMs = atMs - ms;
    tracer.startSpan({ name, parent, startMs, attributes }).end(atMs);
    atMs = startMs;
  }
}

/** In order. Samples of a group share their prefill; the decoding ends with the last of them. */
function partsOf(completions: readonly Completion[]): Part[] {
  const timings = completions.flatMap(({ timing }) => timing ?? []);
  const [first] = timings;
  if (first === undefined) return [];
  const tokens = completions.reduce((sum, completion) => sum + completion.tokens.length, 0);
  const decodeMs = Math.max(...timings.map(({ slotMs, decodeMs: own }) => slotMs + own));
  return [
    { name: "wait for a slot", ms: Math.max(0, first.waitMs) },
    { name: "prefill", ms: first.prefillMs },
    { name: "decode", ms: decodeMs, attributes: { "gen_ai.usage.output_tokens": tokens } },
  ];
}

/** Seconds to a sample's first token and per token after it; tokens. */
export interface TokenRecorders {
  readonly firstToken: Recorder;
  readonly perToken: Recorder;
  readonly tokens: Recorder;
}

/** Measures every sample of a generation. */
export function recordTokens(recorders: TokenRecorders, completions: readonly Completion[]): void {
  for (const { timing, tokens } of completions) {
    recorders.tokens(tokens.length);
    if (timing === undefined) continue;
    recorders.firstToken(firstTokenMs(timing) / 1000);
    if (tokens.length > 1) recorders.perToken(timing.decodeMs / (tokens.length - 1) / 1000);
  }
}

function firstTokenMs({ waitMs, prefillMs, slotMs }: CompletionTiming): number {
  return waitMs + prefillMs + slotMs;
}
