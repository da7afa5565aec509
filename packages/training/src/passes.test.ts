/** One graph serves rows of every length: what is made once, what is made again, and that it shows in no bit. */
import { initialWeights, parameterLayout } from "@oarlock/nn";
import { openOrt, type OrtRuntime, type OrtSession, type OrtTensor } from "@oarlock/ort";
import { initialNormals } from "@oarlock/rl";
import { testedEngine } from "@oarlock/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createPassContext, forwardPass, type ForwardPass } from "./passes.ts";
import { disposeAll, resident, type Tensors, viewTensors } from "./state.ts";
import { SMALL_LLAMA } from "./testing.ts";
import type { TrainingRow } from "./types.ts";

const config = { ...SMALL_LLAMA, maxPositions: 700 };
const layout = parameterLayout(config);

let ort: OrtRuntime;
let weights: Tensors;
beforeAll(async () => {
  ort = await openOrt({ driver: "native", ...testedEngine() });
  const flat = resident(
    ort,
    initialWeights(config, (count, index) => initialNormals(3, index, count)),
  );
  weights = viewTensors(ort, layout.views, { flat });
});
afterAll(async () => {
  disposeAll(weights);
  await ort.close();
});

/** The engine, counting; its first `failures` sessions cannot be made. */
function counting(failures = 0): { readonly engine: OrtRuntime; readonly made: () => number } {
  let count = 0;
  const engine: OrtRuntime = {
    ...ort,
    tensor: ort.tensor.bind(ort),
    createSession(...given) {
      count += 1;
      return count > failures ? ort.createSession(...given) : Promise.reject(new Error("no memory"));
    },
  };
  return { engine, made: () => count };
}

const rowOf = (length: number, start = 0): TrainingRow => ({
  tokens: Int32Array.from({ length }, (_, t) => (start + t * t * 3 + t) % config.vocabSize),
  promptLength: 1,
  lossMask: new Uint8Array(length).fill(1),
});
const pass = (): ForwardPass => ({ weights, temperature: 1, wanted: (_, token) => token > 1 });

describe("forward passes", () => {
  test("one session serves every length, and another rows of one prompt", async () => {
    const { engine, made } = counting();
    const context = createPassContext(engine, config, false);
    const [before] = await forwardPass(context, [rowOf(9)], pass());
    for (const length of [3, 120, 255, 300, 701]) {
      const rows = [rowOf(length), rowOf(7, 1), rowOf(9, 2)];
      const found = await forwardPass(context, rows, pass());
      expect(found.map((of) => of.length)).toEqual([length, 7, 9]);
      expect(found.flatMap((of) => Array.from(of.subarray(2))).every((logprob) => logprob < 0)).toBe(true);
    }
    expect(made()).toBe(1);
    const [after] = await forwardPass(context, [rowOf(9)], pass()); // with longer tables
    expect(after).toEqual(before);
    for (const length of [40, 300, 700])
      await forwardPass(context, [rowOf(length), rowOf(length + 1)], pass());
    expect(made()).toBe(2);
    await context.close();
  });

  test("a session that could not be made is told to all who asked, and made when asked again", async () => {
    const { engine, made } = counting(1);
    const context = createPassContext(engine, config, false);
    const asked = [1, 2].map(() => forwardPass(context, [rowOf(9)], pass()));
    for (const outcome of await Promise.allSettled(asked))
      expect(outcome).toMatchObject({ status: "rejected", reason: { message: "no memory" } });
    const [found] = await forwardPass(context, [rowOf(9)], pass());
    expect(found?.[2]).toBeLessThan(0);
    expect(made()).toBe(2);
    await context.close();
  });

  test("what was made for a run goes, also where it cannot be bound", async () => {
    const made: OrtTensor[] = [];
    let bindings = 0;
    const engine: OrtRuntime = {
      ...ort,
      tensor(...given) {
        made.push(ort.tensor(...given));
        return made.at(-1)!;
      },
      async createSession(...given) {
        const session = await ort.createSession(...given);
        const bind: OrtSession["bind"] = (...call) => {
          if (bindings++ > 0) throw new Error("cannot be bound");
          return session.bind(...call);
        };
        return { ...session, bind };
      },
    };
    const context = createPassContext(engine, config, false);
    await forwardPass(context, [rowOf(9)], pass());
    const kept = made.filter(({ disposed }) => !disposed);
    await expect(forwardPass(context, [rowOf(9)], pass())).rejects.toThrow("cannot be bound");
    expect(made.filter(({ disposed }) => !disposed)).toEqual(kept);
    await context.close();
  });
});
