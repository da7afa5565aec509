/** What becomes of a request that is cancelled while the engine is at work. */
import { expect, test } from "vitest";
import { Batcher } from "./batcher.ts";
import type { DecodeEngine } from "./engine.ts";
import { plainSampling, sampleKey } from "./testing.ts";
import type { Completion } from "./types.ts";

const VOCABULARY = 4;
const SLOTS = 4;

/** Computes nothing. Calls `during` in a run, as a message comes while another thread computes. */
function engineWith(during: (run: "prefill" | "decode") => void): DecodeEngine {
  const rows = (count: number): Float32Array => new Float32Array(count * VOCABULARY).fill(1 / VOCABULARY);
  const engine: Partial<DecodeEngine> = {
    ids: new Int32Array(SLOTS),
    positions: new Int32Array(SLOTS),
    inverseTemperatures: new Float32Array(SLOTS),
    probabilities: rows(SLOTS),
    reserve: () => undefined,
    place: () => undefined,
    move: () => undefined,
    async prefill(prompts) {
      await Promise.resolve();
      during("prefill");
      const cache = { memory: [], release: () => undefined };
      return prompts.map(({ ids }) => ({ length: ids.length, probabilities: rows(1), cache }));
    },
    async decode() {
      await Promise.resolve();
      during("decode");
    },
  };
  return engine as DecodeEngine; // what a batcher uses of it
}

test.each(["prefill", "decode"] as const)(
  "a request cancelled during a %s ends, and others go on",
  async (at) => {
    const ended = new Map<string, readonly Completion[]>();
    const engine = engineWith((run) => run === at && batcher.cancel("cancelled"));
    const handlers = {
      completed: (id: string, completions: readonly Completion[]) => void ended.set(id, completions),
      failed: (id: string, reason: unknown) => expect.unreachable(`${id}: ${String(reason)}`),
    };
    const batcher: Batcher = new Batcher({
      engine,
      vocabulary: VOCABULARY,
      slots: SLOTS,
      maxWaiting: 10,
      handlers,
    });
    const reasonsOf = (id: string): string[] | undefined =>
      ended.get(id)?.map(({ finishReason }) => finishReason);
    const request = { prompt: Int32Array.of(1, 2), params: plainSampling };
    batcher.submit({ ...request, id: "cancelled", samples: [0, 1].map((sample) => sampleKey(0, sample)) });
    batcher.submit({ ...request, id: "kept", samples: [0, 1, 2].map((sample) => sampleKey(1, sample)) });
    await batcher.tick();
    expect(reasonsOf("cancelled")).toEqual(["abort", "abort"]);
    while (batcher.busy) await batcher.tick();
    expect(reasonsOf("kept")).toEqual(["length", "length", "length"]);
  },
);
