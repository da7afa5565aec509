/**
 * A reward model of the run as a scorer: its weights come from the store that the learner publishes finished reward models
 * to, verified (W2), and are scored with in a worker thread (P1). The version on every verdict is the digest of the weights
 * that gave it.
 */
import type { PolicyStore, PolicyVersion } from "@oarlock/checkpoint";
import { causeChain, OarlockError } from "@oarlock/errors";
import { failed, scored } from "@oarlock/rewards";
import type { Verdict } from "@oarlock/rewards";
import { waitFor } from "@oarlock/runtime";
import type { ScorerInfo } from "@oarlock/sandbox";
import type { ScoreModel } from "@oarlock/training";
import type { ScorerActivity, TrajectoryInput } from "./scorer-set.ts";

export interface ModelScorerOptions {
  readonly name: string;
  readonly optional: boolean;
  /** Of one call, and of the wait for the model. */
  readonly timeoutMs: number;
  /** Where the model is published. */
  readonly store: Pick<PolicyStore, "watch" | "fetch">;
  /** Opens the model in a thread. */
  readonly open: (weights: Float32Array) => Promise<ScoreModel>;
}

/** One scorer of a set, judging whole batches. */
export interface BatchScorer {
  readonly info: ScorerInfo;
  /** A verdict on each input. Never rejects for the scorer's fault (S1). */
  score(inputs: readonly TrajectoryInput[], signal?: AbortSignal): Promise<Verdict[]>;
  activity?(): ScorerActivity;
  close(): Promise<void>;
}

interface Loaded {
  readonly model: ScoreModel;
  readonly version: PolicyVersion;
}

/** A scorer whose model may still be in training: it is fetched when it is first asked for a score. */
export function createModelScorer(options: ModelScorerOptions): BatchScorer {
  const { name, optional, timeoutMs } = options;
  let loading: Promise<Loaded> | undefined;
  let version = "";
  const closing = new AbortController();
  const load = (): Promise<Loaded> =>
    waitFor(
      `the reward model of ${name}`,
      async (s) => {
        const announced = await firstOf(options.store.watch(s), name);
        const model = await options.open(await options.store.fetch(announced, s));
        version = `sha256:${announced.digest}`;
        return { model, version: announced };
      },
      { timeoutMs, signal: closing.signal },
    );
  // Shared by all callers, so no caller's signal ends it; after a failure the next call tries again.
  const loaded = (): Promise<Loaded> => {
    loading ??= load();
    loading.catch(() => (loading = undefined));
    return loading;
  };
  return {
    get info() {
      return { name, version, deterministic: true, optional };
    },
    async score(inputs, signal) {
      try {
        const { model } = await loaded();
        const texts = inputs.map(({ tokens }) => tokens);
        const call = { timeoutMs, ...(signal === undefined ? {} : { signal }) };
        return Array.from(await model.score(texts, call), (value) => scored(value));
      } catch (reason) {
        signal?.throwIfAborted();
        const verdict = failed("REWARD_MODEL_FAILED", causeChain(reason).join(": "), true);
        return inputs.map(() => verdict);
      }
    },
    async close() {
      closing.abort();
      await loading?.then(({ model }) => model.close()).catch(() => undefined); // what never opened needs no closing
    },
  };
}

async function firstOf(
  announcements: ReturnType<PolicyStore["watch"]>,
  name: string,
): Promise<PolicyVersion> {
  for await (const { current } of announcements) return current;
  throw new OarlockError("REWARD_MODEL_MISSING", `the store of ${name} ended without a model`);
}
