/**
 * A scorer of another process: samples of all groups in shared calls, tried again with growing pauses, behind a circuit
 * breaker. What stays without an answer is `Failed` with its reason, never a number (S1). A scorer that is declared
 * deterministic is waited for instead, as long as its callers wait: no outage decides a reward (D1c).
 */
import { causeChain, isOarlockError } from "@oarlock/errors";
import { failed } from "@oarlock/rewards";
import type { Failed, Verdict } from "@oarlock/rewards";
import { backoffMs, systemClock } from "@oarlock/runtime";
import type { BatchScorer } from "../model-scorer.ts";
import type { TrajectoryInput } from "../scorer-set.ts";
import { createBatcher } from "./batcher.ts";
import { guardedLine } from "./guarded-line.ts";
import type { GuardedLineOptions } from "./guarded-line.ts";
import { ofOneVersion } from "./one-version.ts";

export interface ExternalScorerOptions extends GuardedLineOptions {
  /** Of what the plan says of it: its version until a verdict says another. */
  readonly version: string;
  /** What verdicts must carry where work pins nothing else; "": any will do. */
  readonly pinnedVersion: string;
  readonly optional: boolean;
  readonly deterministic: boolean;
  /** Over all calls for the same samples; not of a deterministic scorer. */
  readonly retryForMs: number;
  readonly batchSize: number;
  readonly batchWaitMs: number;
  readonly concurrency: number;
  /** Spreads the pauses, which decide no bits. */
  readonly random?: () => number;
}

interface Question {
  readonly input: TrajectoryInput;
  /** Wanted; "": any. */
  readonly version: string;
}

/** Samples that wait for one scorer at most (Q1). */
const MAX_WAITING = 65_536;
const PAUSE = { baseMs: 100, maxMs: 10_000 };
/** Deadline of a wait that has no other, for the list of waits. */
const ENDLESS_MS = 2 ** 31 - 1;
const NO_ANSWER = failed("SCORER_UNAVAILABLE", "the scorer gave no verdict", true);

/** A scorer in another process, called over its line: in batches, with retries, as long as its options allow. */
export function createExternalScorer(options: ExternalScorerOptions): BatchScorer {
  const { name, optional, deterministic, line } = options;
  const { clock = systemClock, random = Math.random } = options;
  const closing = new AbortController();
  const guarded = guardedLine(options);
  const patienceMs = deterministic ? ENDLESS_MS : options.retryForMs;

  const ask = async (
    inputs: readonly TrajectoryInput[],
    version: string,
    caller: AbortSignal,
  ): Promise<readonly Verdict[]> => {
    const signal = AbortSignal.any([caller, closing.signal]);
    const untilMs = clock.monotonicMs() + patienceMs;
    const verdicts: Verdict[] = inputs.map(() => NO_ANSWER);
    let pending = inputs.map((_, i) => i);
    for (let attempt = 0; ; attempt++) {
      const pauseMs = attempt === 0 ? 0 : backoffMs(attempt - 1, { ...PAUSE, random });
      if (!(await guarded.mayCall(pauseMs, untilMs, signal))) break;
      const given = await guarded.call(
        pending.flatMap((i) => inputs[i] ?? []),
        signal,
        version,
      );
      pending.forEach((i, k) => (verdicts[i] = given[k] ?? NO_ANSWER));
      pending = pending.filter((i) => isRetryable(verdicts[i]));
      if (pending.length === 0) break;
    }
    // The circuit never let these through: say why it is open.
    return verdicts.map((verdict) =>
      verdict === NO_ANSWER && guarded.lastFailure !== ""
        ? failed(
            "SCORER_UNAVAILABLE",
            `${line.address} is given time to recover: ${guarded.lastFailure}`,
            true,
          )
        : verdict,
    );
  };

  const batcher = createBatcher<Question, Verdict>({
    name: `scorer ${name}`,
    batchSize: options.batchSize,
    waitMs: options.batchWaitMs,
    concurrency: options.concurrency,
    capacity: MAX_WAITING,
    clock,
    call: (questions, signal) => byVersion(questions, (inputs, version) => ask(inputs, version, signal)),
  });
  return {
    info: { name, version: options.version, deterministic, optional },
    activity: () => ({ ...guarded.activity(), waiting: batcher.depth }),
    async score(inputs, signal, version = options.pinnedVersion) {
      if (inputs.length === 0) return [];
      const questions = inputs.map((input) => ({ input, version }));
      try {
        return await (version === ""
          ? ofOneVersion(name, () => batcher.ask(questions, signal))
          : batcher.ask(questions, signal));
      } catch (reason) {
        signal?.throwIfAborted();
        if (isOarlockError(reason, "SCORER_OVERLOADED")) throw reason;
        const verdict = failed("SCORER_CLOSED", causeChain(reason).join(": "), true);
        return inputs.map(() => verdict);
      }
    },
    async close() {
      closing.abort();
      line.close();
    },
  };
}

function isRetryable(verdict: Verdict | undefined): verdict is Failed {
  return verdict?.type === "failed" && verdict.retryable;
}

/** Where a version takes over from another, a batch may hold questions to both: each is asked in a call of its own. */
async function byVersion(
  questions: readonly Question[],
  ask: (inputs: readonly TrajectoryInput[], version: string) => Promise<readonly Verdict[]>,
): Promise<readonly Verdict[]> {
  const verdicts: Verdict[] = questions.map(() => NO_ANSWER);
  const versions = new Set(questions.map(({ version }) => version));
  const calls = [...versions].map(async (version) => {
    const places = [...questions.keys()].filter((i) => questions[i]?.version === version);
    const inputs = places.flatMap((i) => questions[i]?.input ?? []);
    const given = await ask(inputs, version);
    places.forEach((i, k) => (verdicts[i] = given[k] ?? NO_ANSWER));
  });
  await Promise.all(calls);
  return verdicts;
}
