/** Reward models as scorers: waited for, pinned by digest, failing without a number (S1); and their place among others. */
import { describe, expect, test } from "vitest";
import type { PolicyAnnouncement } from "@oarlock/checkpoint";
import { combineScorers } from "./combined-scorers.ts";
import { createModelScorer } from "./model-scorer.ts";
import type { ModelScorerOptions } from "./model-scorer.ts";
import type { TrajectoryInput } from "./scorer-set.ts";

const input = (tokens: readonly number[]): TrajectoryInput => ({
  prompt: "p",
  completion: "c",
  completionTokens: tokens.length,
  fields: {},
  truncated: false,
  tokens: Int32Array.from(tokens),
});
const version = { number: 1, digest: "abc" };
const announcement: PolicyAnnouncement = { current: version, held: [version], incarnation: 1 };

/** A model whose score is the sum of the tokens; `announce` says when it is published. */
function scorer(announce: Promise<void>, change: Partial<ModelScorerOptions> = {}) {
  const opened: number[] = [];
  const made = createModelScorer({
    name: "helpful",
    optional: false,
    timeoutMs: 2_000,
    store: {
      async *watch() {
        await announce;
        yield announcement;
      },
      fetch: async () => new Float32Array(new SharedArrayBuffer(8)),
    },
    open: async (weights) => {
      opened.push(weights.length);
      return {
        score: async (texts) => Float32Array.from(texts, (text) => text.reduce((a, b) => a + b, 0)),
        close: async () => undefined,
        [Symbol.asyncDispose]: async () => undefined,
      };
    },
    ...change,
  });
  return { made, opened };
}

describe("a model scorer", () => {
  test("waits for its model, opens it once, and has its digest as version", async () => {
    let publish: () => void = () => undefined;
    const { made, opened } = scorer(new Promise<void>((resolve) => (publish = resolve)));
    expect(made.info.version).toBe("");
    const both = Promise.all([made.score([input([1, 2])]), made.score([input([5]), input([7])])]);
    publish();
    expect(await both).toEqual([
      [{ type: "scored", value: 3 }],
      [
        { type: "scored", value: 5 },
        { type: "scored", value: 7 },
      ],
    ]);
    expect(opened).toEqual([2]);
    expect(made.info).toMatchObject({ name: "helpful", version: "sha256:abc", deterministic: true });
    await made.close();
  });

  test("S1: fails where the model does not come in time, and where it cannot be opened; later calls try again", async () => {
    const never = scorer(new Promise<void>(() => undefined), { timeoutMs: 20 });
    const [late] = await never.made.score([input([1])]);
    expect(late).toMatchObject({ type: "failed", code: "REWARD_MODEL_FAILED", retryable: true });
    await never.made.close();

    let broken = true;
    const working = scorer(Promise.resolve()).made;
    const { made } = scorer(Promise.resolve(), {
      open: async () => {
        if (broken) throw new Error("no memory");
        return {
          score: async () => Float32Array.of(Number.NaN),
          close: async () => undefined,
          [Symbol.asyncDispose]: async () => undefined,
        };
      },
    });
    expect(await made.score([input([1])])).toMatchObject([{ type: "failed", reason: "no memory" }]);
    broken = false;
    // What it then gives is no number: still a failure.
    expect(await made.score([input([1])])).toMatchObject([{ type: "failed", code: "VALUE_NOT_FINITE" }]);
    await Promise.all([made.close(), working.close()]);
  });
});

describe("combined scorers", () => {
  test("keep the plan's order, and show tokens to models only", async () => {
    const { made } = scorer(Promise.resolve());
    const seen: object[] = [];
    const pooled = { name: "short", version: "length@1", deterministic: true, optional: false };
    const set = combineScorers(
      {
        scorers: [pooled],
        score: async (inputs) => {
          seen.push(...inputs);
          return inputs.map(() => [{ type: "scored" as const, value: 0.5 }]);
        },
      },
      [{ model: made }, { pooled: 0 }],
    );
    expect(await set.score([input([4])])).toEqual([
      [
        { type: "scored", value: 4 },
        { type: "scored", value: 0.5 },
      ],
    ]);
    expect(set.scorers.map(({ name, version: v }) => `${name} ${v}`)).toEqual([
      "helpful sha256:abc",
      "short length@1",
    ]);
    expect(seen).toHaveLength(1);
    expect(seen[0]).not.toHaveProperty("tokens");
    await made.close();
  });
});
