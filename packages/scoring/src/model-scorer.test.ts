/** Reward models as scorers: waited for, pinned by digest, failing without a number (S1); and their place among others. */
import { describe, expect, test } from "vitest";
import type { PolicyAnnouncement } from "@oarlock/checkpoint";
import { OarlockError } from "@oarlock/errors";
import { sleep } from "@oarlock/runtime";
import { cachedScorer } from "./cached-scorer.ts";
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
const HELPFUL = { name: "helpful", optional: false, timeoutMs: 2_000 };
const version = { number: 1, digest: "abc" };
const announcement: PolicyAnnouncement = { current: version, held: [version], incarnation: 1 };

/** A model whose score is the sum of the tokens; `announce` says when it is published. */
function scorer(announce: Promise<void>, change: Partial<ModelScorerOptions> = {}) {
  const opened: number[] = [];
  const made = createModelScorer({
    ...HELPFUL,
    store: {
      async *watch() {
        await announce;
        yield announcement;
      },
      current: async () => undefined,
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
      [{ type: "scored", value: 3, version: "sha256:abc" }],
      [
        { type: "scored", value: 5, version: "sha256:abc" },
        { type: "scored", value: 7, version: "sha256:abc" },
      ],
    ]);
    expect(opened).toEqual([2]);
    expect(made.info).toMatchObject({ name: "helpful", version: "sha256:abc", deterministic: true });
    await made.close();
  });

  test("waits longer for its model to open than for a score, and closes one that comes after its end", async () => {
    let open: () => void = () => undefined;
    const opens = new Promise<void>((resolve) => (open = resolve));
    let closed = 0;
    const model = {
      score: async () => Float32Array.of(4),
      close: async () => void closed++,
      [Symbol.asyncDispose]: async () => undefined,
    };
    const slow = (): Promise<typeof model> => opens.then(() => model);
    const made = scorer(Promise.resolve(), { timeoutMs: 20, open: slow }).made;
    const score = made.score([input([1])]);
    const left = scorer(Promise.resolve(), { timeoutMs: 20, open: slow }).made;
    const unheard = left.score([input([1])]);
    await sleep(100);
    await left.close();
    expect(await unheard).toMatchObject([{ type: "failed" }]);
    expect(closed).toBe(0);
    open();
    expect(await score).toMatchObject([{ type: "scored", value: 4 }]);
    expect(closed).toBe(1);
    await made.close();
    expect(closed).toBe(2);
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

describe("a process reward model", () => {
  /** Of each place the sum of the tokens up to it; a step ends with token 9. */
  function process(change: Partial<ModelScorerOptions> = {}) {
    const asked: number[] = [];
    const { made } = scorer(Promise.resolve(), {
      stepEnds: (completion) => completion.flatMap((token, i) => (token === 9 ? [i] : [])),
      open: async () => ({
        async score(texts, { places = [] }) {
          asked.push(texts.length);
          return Float32Array.from(
            texts.flatMap((text, i) =>
              (places[i] ?? []).map((place) => text.subarray(0, place + 1).reduce((a, b) => a + b, 0)),
            ),
          );
        },
        close: async () => undefined,
        [Symbol.asyncDispose]: async () => undefined,
      }),
      ...change,
    });
    return { made, asked };
  }
  const steps = (tokens: readonly number[], completionTokens: number): TrajectoryInput => ({
    ...input(tokens),
    completionTokens,
  });

  test("gives each completion's steps their scores in one call, at their places among all tokens", async () => {
    const { made, asked } = process();
    const cached = cachedScorer(made);
    const inputs = [steps([9, 1, 9, 2, 9], 4), steps([1, 1, 9], 2)];
    const expected = [
      { type: "scored", value: 49, version: "sha256:abc", tokens: { positions: [2, 4], values: [19, 30] } },
      { type: "scored", value: 11, version: "sha256:abc", tokens: { positions: [2], values: [11] } },
    ];
    expect(await cached.score(inputs)).toEqual(expected);
    // Remembered with its places; the same tokens with another prompt have others.
    expect(await cached.score(inputs.toReversed())).toEqual(expected.toReversed());
    expect(asked).toEqual([2]);
    const [other] = await cached.score([steps([9, 1, 9, 2, 9], 5)]);
    expect(other).toMatchObject({ tokens: { positions: [0, 2, 4], values: [9, 19, 30] } });
    expect(asked).toEqual([2, 1]);
    await cached.close();
  });

  test("S1: a score of a step that is not finite fails its sample alone, as does a completion without tokens", async () => {
    const { made } = process({
      open: async () => ({
        score: async () => Float32Array.of(1, Number.NaN, 0.5),
        close: async () => undefined,
        [Symbol.asyncDispose]: async () => undefined,
      }),
    });
    expect(await made.score([steps([1, 9, 9], 2), steps([9, 9], 1), steps([9], 0)])).toMatchObject([
      { type: "failed", code: "VALUE_NOT_FINITE" },
      { type: "scored", value: 0.5, tokens: { positions: [1] } },
      { type: "failed", code: "COMPLETION_EMPTY" },
    ]);
    await made.close();
  });
});

test("D1c: a thread that dies, and a call that is late, decide no reward", async () => {
  const closed: number[] = [];
  const faults = [
    new OarlockError("WORKER_DIED", "score model: exit code 1", { retryable: true }),
    new OarlockError("DEADLINE_EXCEEDED", "waited 60000 ms for score", { retryable: true }),
  ];
  let threads = 0;
  const { made } = scorer(Promise.resolve(), {
    open: async () => {
      const thread = threads++;
      let isDead = false;
      return {
        async score() {
          const fault = faults[thread];
          if (isDead) throw new OarlockError("ENGINE_CLOSED", "a new thread that has no model");
          isDead = fault !== undefined;
          if (fault !== undefined) throw fault;
          return Float32Array.of(0.5);
        },
        close: async () => void closed.push(thread),
        [Symbol.asyncDispose]: async () => undefined,
      };
    },
  });
  expect(await made.score([input([1])])).toEqual([{ type: "scored", value: 0.5, version: "sha256:abc" }]);
  expect(closed).toEqual([0, 1]);
  await made.close();
  expect(closed).toEqual([0, 1, 2]);
});

test("D1c: a bus that is away decides no reward: the work is handed back, and scored when the bus is there again", async () => {
  const away = new OarlockError("DEADLINE_EXCEEDED", "nats-server to answer: gave up", { retryable: true });
  let isAway = true;
  const { made } = scorer(Promise.resolve(), {
    timeoutMs: 50,
    store: {
      async *watch(signal) {
        if (isAway) await new Promise((_, reject) => signal?.addEventListener("abort", reject));
        yield announcement;
      },
      async current() {
        throw away;
      },
      fetch: async () => new Float32Array(new SharedArrayBuffer(8)),
    },
  });
  const handedBack = { code: "REWARD_MODEL_UNREACHABLE", retryable: true };
  await expect(made.score([input([1])])).rejects.toMatchObject(handedBack);
  isAway = false;
  expect(await made.score([input([1])])).toMatchObject([{ type: "scored", value: 1 }]);
  await made.close();

  const fetching = scorer(Promise.resolve(), {
    store: {
      async *watch() {
        yield announcement;
      },
      current: async () => announcement,
      async fetch() {
        if (isAway) return new Float32Array(new SharedArrayBuffer(8));
        isAway = true;
        throw away;
      },
    },
  }).made;
  await expect(fetching.score([input([2])])).rejects.toMatchObject(handedBack);
  expect(await fetching.score([input([2])])).toMatchObject([{ type: "scored", value: 2 }]);
  await fetching.close();
});

describe("versions of a model scorer", () => {
  /** A store of versions a, b, c, of which the first `count` are held; a model adds its weights' length to every score. */
  function versioned() {
    const all = ["a", "b", "c"].map((digest, i) => ({ number: i + 1, digest }));
    let wake = (): void => undefined;
    let count = 1;
    const closed: number[] = [];
    const made = createModelScorer({
      ...HELPFUL,
      store: {
        async *watch() {
          for (;;) {
            const held = all.slice(0, count);
            yield { current: held.at(-1) ?? version, held, incarnation: 1 };
            await new Promise<void>((resolve) => (wake = resolve));
          }
        },
        current: async () => undefined,
        fetch: async ({ number }) => new Float32Array(new SharedArrayBuffer(4 * number)),
      },
      open: async ({ length }) => ({
        score: async (texts) => Float32Array.from(texts, () => length),
        close: async () => void closed.push(length),
        [Symbol.asyncDispose]: async () => undefined,
      }),
    });
    const publish = (): void => {
      count++;
      wake();
    };
    const scoreBy = (digest: string) => made.score([input([1])], undefined, `sha256:${digest}`);
    return { made, publish, scoreBy, closed };
  }

  test("W2: each group is judged by the version that it pins; the next is waited for while the old one serves", async () => {
    const { made, publish, scoreBy, closed } = versioned();
    expect(await scoreBy("a")).toEqual([{ type: "scored", value: 1, version: "sha256:a" }]);
    const next = scoreBy("b");
    expect(await scoreBy("a")).toMatchObject([{ value: 1 }]);
    publish();
    expect(await next).toEqual([{ type: "scored", value: 2, version: "sha256:b" }]);
    // The old one is still open, and a third takes the place of the one that was used longest ago.
    expect(await scoreBy("a")).toMatchObject([{ value: 1 }]);
    expect(closed).toEqual([]);
    publish();
    expect(await scoreBy("c")).toMatchObject([{ value: 3, version: "sha256:c" }]);
    await expect.poll(() => closed).toEqual([2]);
    await made.close();
    expect(new Set(closed)).toEqual(new Set([1, 2, 3]));
  });

  test("remembered scores are those of the pinned version", async () => {
    const { made, publish } = versioned();
    publish();
    const cached = cachedScorer(made);
    const values = async (digest: string) =>
      (await cached.score([input([1])], undefined, `sha256:${digest}`)).map((v) => "value" in v && v.value);
    expect([await values("a"), await values("b"), await values("a")]).toEqual([[1], [2], [1]]);
    expect(cached.activity?.()).toMatchObject({ cacheHits: 1, cacheMisses: 2 });
    await cached.close();
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
        { type: "scored", value: 4, version: "sha256:abc" },
        { type: "scored", value: 0.5 },
      ],
    ]);
    expect(set.scorers.map(({ name, version: v }) => `${name} ${v}`)).toEqual([
      "helpful sha256:abc",
      "short length@1",
    ]);
    // Code has one version: another one that is pinned is a failure, and no score of this one.
    const pins = new Map([["short", "length@2"]]);
    expect(await set.score([input([4])], { pins })).toMatchObject([
      [{ value: 4 }, { type: "failed", code: "SCORER_VERSION" }],
    ]);
    seen.length = 1;
    expect(seen[0]).not.toHaveProperty("tokens");
    await made.close();
  });
});
