/**
 * A reward model of the run as a scorer: its weights come from the store that the learner publishes finished reward models
 * to, verified (W2), and are scored with in a worker thread (P1). The version on every verdict is the digest of the weights
 * that gave it.
 */
import type { PolicyAnnouncement, PolicyStore, PolicyVersion } from "@oarlock/checkpoint";
import { causeChain, isOarlockError, OarlockError } from "@oarlock/errors";
import { failed } from "@oarlock/rewards";
import type { Verdict } from "@oarlock/rewards";
import { ENGINE_CALL_TIMEOUT_MS, sleep, systemClock, waitFor } from "@oarlock/runtime";
import type { ScorerInfo } from "@oarlock/sandbox";
import type { ScoreModel } from "@oarlock/training";
import { modelVerdicts } from "./model-verdicts.ts";
import type { StepFinder } from "./model-verdicts.ts";
import type { ScorerActivity, TrajectoryInput } from "./scorer-set.ts";
import { modelVersion } from "./version.ts";

/** Versions of a reward model, and their weights. */
export type RewardModelSource = Pick<PolicyStore, "watch" | "current"> & {
  fetch(version: PolicyVersion, signal?: AbortSignal): Promise<Float32Array>;
};

export interface ModelScorerOptions {
  readonly name: string;
  readonly optional: boolean;
  /** Of one call, and of the wait for the model's weights. Opening them takes what it takes. */
  readonly timeoutMs: number;
  /** Where the model is published. */
  readonly store: RewardModelSource;
  /** Opens the model in a thread. */
  readonly open: (weights: Float32Array) => Promise<ScoreModel>;
  /** Of a process reward model. Absent: one score of the whole. */
  readonly stepEnds?: StepFinder;
}

/** One scorer of a set, judging whole batches. */
export interface BatchScorer {
  readonly info: ScorerInfo;
  /**
   * A verdict on each input, by that version where one is pinned. Never rejects for the scorer's fault (S1). Of what it needs from
   * the bus and does not get, it is not: it rejects with a retryable error, and the work is handed back (D1c).
   */
  score(inputs: readonly TrajectoryInput[], signal?: AbortSignal, version?: string): Promise<Verdict[]>;
  activity?(): ScorerActivity;
  close(): Promise<void>;
}

interface Loaded {
  readonly model: ScoreModel;
  readonly version: string;
}

/**
 * D1c: a thread that died and a machine that paused decide no reward, nor does a bus that is away. What may pass is tried again for so long, less than a
 * reward worker keeps a batch.
 */
const PATIENCE_MS = 300_000;
const RETRY_DELAY_MS = 500;
/** Whether the store answers at all. */
const ANSWER_MS = 5_000;
/** The store did not give the model, for no reason that it said. */
const UNREACHABLE = "REWARD_MODEL_UNREACHABLE";

/** Models open at the same time: one takes over from another while groups of both are under way. */
const MAX_OPEN = 2;

/**
 * A scorer whose model may still be in training: it is fetched when it is first asked for a score, and so is every version that
 * work pins, while the one before it goes on.
 */
export function createModelScorer(options: ModelScorerOptions): BatchScorer {
  const { name, optional, timeoutMs, stepEnds } = options;
  /** By version, "" where none was pinned; in the order of their last use. */
  const opened = new Map<string, Promise<Loaded>>();
  /** Calls that are with a model. */
  const calls = new Map<Promise<Loaded>, number>();
  let newest = "";
  const closing = new AbortController();
  const load = async (pinned: string): Promise<Loaded> => {
    const made = await loadModel(options, pinned, closing.signal);
    newest = made.version;
    return made;
  };
  // Shared by all callers, so no caller's signal ends it; after a failure the next call tries again.
  const loaded = (pinned: string): Promise<Loaded> => {
    const loading = opened.get(pinned) ?? load(pinned);
    loading.catch(() => opened.get(pinned) === loading && opened.delete(pinned));
    opened.delete(pinned);
    opened.set(pinned, loading);
    return loading;
  };
  const closeOldest = (): void => {
    for (const [pinned, loading] of opened) {
      if (opened.size <= MAX_OPEN) return;
      if ((calls.get(loading) ?? 0) > 0) continue;
      opened.delete(pinned);
      void closeModel(loading);
    }
  };
  const leave = (pinned: string, loading: Promise<Loaded>): void => {
    const left = (calls.get(loading) ?? 1) - 1;
    if (left > 0) calls.set(loading, left);
    else calls.delete(loading);
    if (left <= 0 && opened.get(pinned) !== loading) void closeModel(loading);
    closeOldest();
  };
  const scoreOnce = async (
    inputs: readonly TrajectoryInput[],
    signal: AbortSignal | undefined,
    pinned: string,
  ): Promise<Verdict[]> => {
    const loading = loaded(pinned);
    calls.set(loading, (calls.get(loading) ?? 0) + 1);
    try {
      const { model, version } = await loading;
      const call = { timeoutMs, stepEnds, ...(signal === undefined ? {} : { signal }) };
      const verdicts = await modelVerdicts(model, inputs, call).catch((reason: unknown) => {
        // Its thread may be gone: the next call opens the model anew.
        if (signal?.aborted !== true && opened.get(pinned) === loading) opened.delete(pinned);
        throw reason;
      });
      return verdicts.map((verdict) => versioned(verdict, version));
    } finally {
      leave(pinned, loading);
    }
  };
  return {
    get info() {
      return { name, version: newest, deterministic: true, optional };
    },
    async score(inputs, signal, pinned = "") {
      try {
        const signals = signal === undefined ? [closing.signal] : [signal, closing.signal];
        return await patiently(() => scoreOnce(inputs, signal, pinned), AbortSignal.any(signals));
      } catch (reason) {
        signal?.throwIfAborted();
        if (isOarlockError(reason, UNREACHABLE)) throw reason;
        const verdict = failed("REWARD_MODEL_FAILED", causeChain(reason).join(": "), true);
        return inputs.map(() => verdict);
      }
    },
    async close() {
      closing.abort();
      await Promise.all([...opened.values()].map(closeModel));
    },
  };
}

/**
 * Throws `REWARD_MODEL_UNANNOUNCED` where the store answers and does not announce the version in time; `REWARD_MODEL_UNREACHABLE`
 * (retryable) where it is the store that does not do what it is asked.
 */
async function loadModel(
  { name, timeoutMs, store, open }: ModelScorerOptions,
  pinned: string,
  signal: AbortSignal,
): Promise<Loaded> {
  const what = pinned === "" ? `the reward model of ${name}` : `the reward model ${pinned} of ${name}`;
  const wait = { timeoutMs, signal };
  const announced = await waitFor(what, (s) => versionOf(store.watch(s), { name, pinned }), wait).catch(
    async (reason: unknown) => {
      if (!isOarlockError(reason, "DEADLINE_EXCEEDED")) throw unreachable(what, reason);
      // Nobody has announced it, or nobody could hear that: whoever answers now says which.
      const asked = `the store of ${what} to answer`;
      const answer = await waitFor(asked, store.current(), { timeoutMs: ANSWER_MS, signal }).catch(
        (silence: unknown) => {
          throw unreachable(what, silence);
        },
      );
      const found = answer && versionIn(answer, pinned);
      if (found !== undefined) return found;
      throw new OarlockError("REWARD_MODEL_UNANNOUNCED", `${what} is not announced`, { cause: reason });
    },
  );
  const weights = await waitFor(what, (s) => store.fetch(announced, s), wait).catch((reason: unknown) => {
    throw unreachable(what, reason);
  });
  const opening = open(weights);
  const limit = { timeoutMs: ENGINE_CALL_TIMEOUT_MS, signal };
  const model = await waitFor(`${what} to open`, opening, limit).catch((reason: unknown) => {
    void opening.then((late) => late.close()).catch(() => undefined); // its thread holds all the weights
    throw reason;
  });
  return { model, version: modelVersion(announced.digest) };
}

/** What may pass, of the store; what it says of the model itself is left as it is. */
function unreachable(what: string, reason: unknown): unknown {
  const mayPass = isOarlockError(reason) && reason.retryable && !isOarlockError(reason, "POLICY_MISSING");
  if (!mayPass) return reason;
  return new OarlockError(UNREACHABLE, `${what} cannot be had from its store`, {
    cause: reason,
    retryable: true,
  });
}

/**
 * Tries again what may pass: not a version that nobody announces in time, its learner has let go of it; nor what the store does not
 * give, that work is handed back.
 */
async function patiently<T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const untilMs = systemClock.monotonicMs() + PATIENCE_MS;
  for (;;) {
    try {
      return await attempt();
    } catch (reason) {
      const mayPass = isOarlockError(reason) && reason.retryable && !isOarlockError(reason, UNREACHABLE);
      if (signal.aborted || !mayPass || systemClock.monotonicMs() >= untilMs) throw reason;
      await sleep(RETRY_DELAY_MS, { signal });
    }
  }
}

async function closeModel(loading: Promise<Loaded>): Promise<void> {
  await loading.then(({ model }) => model.close()).catch(() => undefined); // what never opened needs no closing
}

function versioned(verdict: Verdict, version: string): Verdict {
  return verdict.type === "scored" ? { ...verdict, version } : verdict;
}

/** The pinned version as soon as it is announced; where none is pinned, the first that is. */
async function versionOf(
  announcements: ReturnType<PolicyStore["watch"]>,
  { name, pinned }: { readonly name: string; readonly pinned: string },
): Promise<PolicyVersion> {
  for await (const announcement of announcements) {
    const found = versionIn(announcement, pinned);
    if (found !== undefined) return found;
  }
  throw new OarlockError("REWARD_MODEL_MISSING", `the store of ${name} ended without a model`);
}

function versionIn({ current, held }: PolicyAnnouncement, pinned: string): PolicyVersion | undefined {
  return pinned === "" ? current : held.find(({ digest }) => modelVersion(digest) === pinned);
}
