/**
 * The scorers of a run: built-in verifiers and users' functions, each with an identity that travels with its verdicts. Whatever
 * may take for ever is in killable worker threads (P1). It does not weigh or combine verdicts.
 */
import { resolve } from "node:path";
import { OarlockError } from "@oarlock/errors";
import {
  createVerifier,
  isLinear,
  isVerifierType,
  type ScoringInput,
  type Verdict,
  type VerifierOptions,
  VERIFIERS_VERSION,
} from "@oarlock/rewards";
import { inSlices } from "@oarlock/runtime";
import { type Bundle, bundleReward, readBundle } from "./bundle.ts";
import type { ScorerRecipe } from "./protocol.ts";
import { ScoringThread } from "./scoring-thread.ts";

/** A reward of the plan: its head, and a block named after its type. */
export type RewardSettings = {
  readonly name: string;
  readonly type: string;
  readonly optional: boolean;
  readonly timeoutMs: number;
} & { readonly [T in keyof VerifierOptions]?: VerifierOptions[T] } & {
  readonly function?: {
    readonly file: string;
    readonly export: string;
    /** The file is a bundle already: it is taken as it is. */
    readonly bundled?: boolean;
  };
};

/** The identity of a scorer, pinned by the conductor. */
export interface ScorerInfo {
  readonly name: string;
  /** What decides the verdict: the verifier's version, or the digest of the bundled code. */
  readonly version: string;
  readonly deterministic: boolean;
  readonly optional: boolean;
}

/** Hears the verdicts of one scorer on all inputs, in their order. */
export type ScoredListener = (scorer: ScorerInfo, verdicts: readonly Verdict[]) => void;

/** A named vector of scorers. */
export interface ScorerPool extends AsyncDisposable {
  readonly scorers: readonly ScorerInfo[];
  /**
   * `verdicts[i][j]` is scorer j's on input i. Never rejects for a scorer's fault (S1). `onScored` hears of each scorer when
   * its last verdict is in.
   */
  score(
    inputs: readonly ScoringInput[],
    signal?: AbortSignal,
    onScored?: ScoredListener,
  ): Promise<readonly (readonly Verdict[])[]>;
  close(): Promise<void>;
}

export interface OpenScorersOptions {
  /** Folder that reward files are relative to. */
  readonly baseDir: string;
  /** Threads. Default 1. */
  readonly workers?: number;
}

/** Inputs that wait for threads at most; more are refused with `SCORER_OVERLOADED` (Q1). */
const MAX_QUEUED = 65_536;

interface Opened {
  readonly reward: RewardSettings;
  readonly info: ScorerInfo;
  readonly recipe: ScorerRecipe;
}

/** Opens the scorers: users' files are bundled and loaded. Throws `REWARD_BUNDLE`, `REWARD_LOAD`, `REWARD_TYPE`. */
export async function openScorers(
  rewards: readonly RewardSettings[],
  options: OpenScorersOptions,
): Promise<ScorerPool> {
  const opened = await Promise.all(rewards.map((reward) => openScorer(reward, options.baseDir)));
  const threaded = opened.filter(({ recipe }) => !isDirect(recipe));
  const threads = await openThreads(threaded, options.workers ?? 1);
  const scorers = opened.map((one): PooledScorer => {
    const { info, recipe } = one;
    if (isDirect(recipe)) {
      const verifier = createVerifier(recipe.type, recipe.options);
      return { info, judge: (inputs) => inSlices(inputs, verifier) };
    }
    const index = threaded.indexOf(one);
    return { info, judge: (inputs) => judgeInThreads(threads, index, inputs) };
  });
  return createPool(scorers, { threads, threaded: threaded.length });
}

/** Whether the calling thread may do it: a thread's two messages would cost many times the work. */
function isDirect(recipe: ScorerRecipe): recipe is Extract<ScorerRecipe, { kind: "verifier" }> {
  return recipe.kind === "verifier" && isLinear(recipe.type);
}

/**
 * Starts the threads, if anything needs one. A scorer that does not load stops the run here, not after it made no use of a
 * thousand samples (X1).
 */
async function openThreads(opened: readonly Opened[], workers: number): Promise<ScoringThread[]> {
  if (opened.length === 0) return [];
  const options = {
    recipes: opened.map(({ recipe }) => recipe),
    timeoutsMs: opened.map(({ reward }) => reward.timeoutMs),
  };
  const threads = Array.from({ length: Math.max(1, workers) }, () => new ScoringThread(options));
  const [fault] = (await Promise.all(threads.map((thread) => thread.open()))).flat();
  if (!fault) return threads;
  await Promise.all(threads.map((thread) => thread.close()));
  const { name = "", function: source } = opened[fault.scorer]?.reward ?? {};
  throw new OarlockError(
    "REWARD_LOAD",
    `reward ${name}${source ? ` (${source.file})` : ""}: ${fault.message}`,
  );
}

/** Loads a user's function as a run will, in a thread that is ended where it does not come back. Throws as `openScorers` does. */
export async function checkFunction(
  name: string,
  source: NonNullable<RewardSettings["function"]>,
  baseDir: string,
): Promise<void> {
  const reward = { name, type: "function", optional: false, timeoutMs: 0, function: source };
  await (await openScorers([reward], { baseDir })).close();
}

/** The code of a user's reward, for the plan: nothing is run. */
export async function rewardDigest(file: string, baseDir: string, bundled = false): Promise<string> {
  return (await codeOf({ file, bundled }, baseDir)).digest;
}

function codeOf(
  { file, bundled = false }: { readonly file: string; readonly bundled?: boolean },
  baseDir: string,
): Promise<Bundle> {
  const path = resolve(baseDir, file);
  return bundled ? readBundle(path) : bundleReward(path);
}

async function openScorer(reward: RewardSettings, baseDir: string): Promise<Opened> {
  const { name, type, optional } = reward;
  if (isVerifierType(type)) {
    const settings = reward[type];
    if (!settings) throw new OarlockError("REWARD_TYPE", `reward ${name} has no ${type} block`);
    const info = { name, version: `${type}@${VERIFIERS_VERSION}`, deterministic: true, optional };
    return { reward, info, recipe: { kind: "verifier", type, options: settings } };
  }
  if (type !== "function" || !reward.function)
    throw new OarlockError("REWARD_TYPE", `reward ${name} has the unknown type ${type}`);
  const { code, digest } = await codeOf(reward.function, baseDir);
  // A function is taken to be deterministic: D1 holds as far as it is.
  const info = { name, version: `sha256:${digest}`, deterministic: true, optional };
  return { reward, info, recipe: { kind: "function", code, export: reward.function.export } };
}

interface PooledScorer {
  readonly info: ScorerInfo;
  /** Verdicts on inputs, in their order. Never rejects. */
  readonly judge: (inputs: readonly ScoringInput[]) => Promise<Verdict[]>;
}

interface Threads {
  readonly threads: readonly ScoringThread[];
  /** Scorers that each of them has. */
  readonly threaded: number;
}

function createPool(scorers: readonly PooledScorer[], { threads, threaded }: Threads): ScorerPool {
  const close = async (): Promise<void> => {
    await Promise.all(threads.map((thread) => thread.close()));
  };
  return {
    scorers: scorers.map(({ info }) => info),
    async score(inputs, signal, onScored) {
      signal?.throwIfAborted();
      const queued = threads.reduce((total, thread) => total + thread.load, 0);
      if (queued + inputs.length * threaded > MAX_QUEUED) {
        throw new OarlockError("SCORER_OVERLOADED", `${queued} inputs wait already; at most ${MAX_QUEUED}`, {
          retryable: true,
        });
      }
      const judged = scorers.map(async ({ info, judge }) => {
        const verdicts = await judge(inputs);
        onScored?.(info, verdicts);
        return verdicts;
      });
      const byScorer = await orAborted(judged, signal);
      return inputs.map((_, i) => byScorer.map((verdicts) => verdicts[i] ?? missing));
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** All of the work, or the signal's reason. What is with the threads stays there: its verdicts have nobody to go to. */
async function orAborted<T>(work: readonly Promise<T>[], signal?: AbortSignal): Promise<T[]> {
  if (!signal) return Promise.all(work);
  let abort = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
  });
  return Promise.race([Promise.all(work), aborted]).finally(() => signal.removeEventListener("abort", abort));
}

const missing: Verdict = {
  type: "failed",
  code: "VERDICT_MISSING",
  reason: "the scorer gave no verdict",
  retryable: true,
};

/** Verdicts of the scorer of that index among those of the threads. */
async function judgeInThreads(
  threads: readonly ScoringThread[],
  scorer: number,
  inputs: readonly ScoringInput[],
): Promise<Verdict[]> {
  const given = spread(inputs, threads).map(({ thread, part }) => thread.score(scorer, part));
  return (await Promise.all(given)).flat();
}

/** Contiguous parts of the inputs, one a thread. */
function spread(
  inputs: readonly ScoringInput[],
  threads: readonly ScoringThread[],
): { thread: ScoringThread; part: readonly ScoringInput[] }[] {
  const size = Math.ceil(inputs.length / threads.length);
  return threads.map((thread, i) => ({ thread, part: inputs.slice(i * size, (i + 1) * size) }));
}
