/**
 * A scorer of another process: samples of all groups in shared calls, tried again with growing pauses, behind a circuit
 * breaker. What stays without an answer is `Failed` with its reason, never a number (S1). A scorer that is declared
 * deterministic is waited for instead, as long as its callers wait: no outage decides a reward (D1c).
 */
import { causeChain, isOarlockError } from "@oarlock/errors";
import { failed } from "@oarlock/rewards";
import type { Failed, Verdict } from "@oarlock/rewards";
import { backoffMs, processWaits, sleep, systemClock, waitFor } from "@oarlock/runtime";
import type { Clock, WaitRegistry } from "@oarlock/runtime";
import type { BatchScorer } from "../model-scorer.ts";
import type { TrajectoryInput } from "../scorer-set.ts";
import { createBatcher } from "./batcher.ts";
import { circuitWaitMs, CLOSED, reduceCircuit } from "./circuit-breaker.ts";
import type { CircuitEvent, CircuitOptions, CircuitState } from "./circuit-breaker.ts";
import { pinned } from "./scorer-line.ts";
import type { ScorerLine } from "./scorer-line.ts";

export interface ExternalScorerOptions {
  readonly name: string;
  /** Of what the plan says of it: its version until a verdict says another. */
  readonly version: string;
  readonly optional: boolean;
  readonly deterministic: boolean;
  /** Verdicts of another version are failures; "": any. */
  readonly pinnedVersion: string;
  /** Of one call. */
  readonly timeoutMs: number;
  /** Over all calls for the same samples; not of a deterministic scorer. */
  readonly retryForMs: number;
  readonly batchSize: number;
  readonly batchWaitMs: number;
  readonly concurrency: number;
  readonly line: ScorerLine;
  readonly clock?: Clock;
  /** Spreads the pauses, which decide no bits. */
  readonly random?: () => number;
  readonly registry?: WaitRegistry;
}

/** Samples that wait for one scorer at most (Q1). */
const MAX_WAITING = 65_536;
const CIRCUIT: CircuitOptions = { threshold: 5, openMs: 500, maxOpenMs: 30_000 };
const PAUSE = { baseMs: 100, maxMs: 10_000 };
/** Deadline of a wait that has no other, for the list of waits. */
const ENDLESS_MS = 2 ** 31 - 1;
const NO_ANSWER = failed("SCORER_UNAVAILABLE", "the scorer gave no verdict", true);

export function createExternalScorer(options: ExternalScorerOptions): BatchScorer {
  const { name, optional, deterministic, line, timeoutMs, pinnedVersion } = options;
  const { clock = systemClock, random = Math.random, registry = processWaits } = options;
  const closing = new AbortController();
  let circuit: CircuitState = CLOSED;
  let lastFailure = "";
  let [calls, failures] = [0, 0];
  const dispatch = (event: CircuitEvent): void => void (circuit = reduceCircuit(circuit, event, CIRCUIT));
  const patienceMs = deterministic ? ENDLESS_MS : options.retryForMs;

  /** Waits for the pause and until the circuit lets a call through; false where the time would be over by then. */
  const mayCall = async (pauseMs: number, untilMs: number, signal: AbortSignal): Promise<boolean> => {
    const leave = registry.enter(
      `scorer ${name} at ${line.address} to come back: ${lastFailure}`,
      untilMs - clock.monotonicMs(),
    );
    try {
      for (let waitMs = pauseMs; ;) {
        if (waitMs > 0 && clock.monotonicMs() + waitMs > untilMs) return false;
        // A success of another call closes the circuit early: look again soon.
        if (waitMs > 0) await sleep(Math.min(waitMs, Math.max(pauseMs, CIRCUIT.openMs)), { clock, signal });
        const nowMs = clock.monotonicMs();
        waitMs = circuitWaitMs(circuit, nowMs);
        if (waitMs > 0) continue;
        dispatch({ type: "called", nowMs });
        return true;
      }
    } finally {
      leave();
    }
  };

  /** One call; what it throws is a failure to be tried again, or the verdict on all of its inputs. */
  const callOnce = async (
    inputs: readonly TrajectoryInput[],
    signal: AbortSignal,
  ): Promise<readonly Verdict[]> => {
    calls++;
    const waitName = `scorer ${name} at ${line.address} to score ${inputs.length} samples`;
    try {
      const verdicts = await waitFor(waitName, (inner) => line.call(inputs, inner), {
        timeoutMs,
        signal,
        clock,
        registry,
      });
      dispatch({ type: "succeeded" });
      return verdicts.map((verdict) => pinned(verdict, pinnedVersion));
    } catch (reason) {
      signal.throwIfAborted();
      failures++;
      const why = causeChain(reason).join(": ");
      const retryable = isOarlockError(reason) && reason.retryable;
      // A wrong answer is an answer: the process is there.
      dispatch(retryable ? { type: "failed", nowMs: clock.monotonicMs() } : { type: "succeeded" });
      lastFailure = why;
      const code = isOarlockError(reason) ? reason.code : "SCORER_FAILED";
      return inputs.map(() => failed(code, why, retryable));
    }
  };

  const ask = async (
    inputs: readonly TrajectoryInput[],
    caller: AbortSignal,
  ): Promise<readonly Verdict[]> => {
    const signal = AbortSignal.any([caller, closing.signal]);
    const untilMs = clock.monotonicMs() + patienceMs;
    const verdicts: Verdict[] = inputs.map(() => NO_ANSWER);
    let pending = inputs.map((_, i) => i);
    for (let attempt = 0; ; attempt++) {
      const pauseMs = attempt === 0 ? 0 : backoffMs(attempt - 1, { ...PAUSE, random });
      if (!(await mayCall(pauseMs, untilMs, signal))) break;
      const given = await callOnce(
        pending.flatMap((i) => inputs[i] ?? []),
        signal,
      );
      pending.forEach((i, k) => (verdicts[i] = given[k] ?? NO_ANSWER));
      pending = pending.filter((i) => isRetryable(verdicts[i]));
      if (pending.length === 0) break;
    }
    // The circuit never let these through: say why it is open.
    return verdicts.map((verdict) =>
      verdict === NO_ANSWER && lastFailure !== ""
        ? failed("SCORER_UNAVAILABLE", `${line.address} is given time to recover: ${lastFailure}`, true)
        : verdict,
    );
  };

  const batcher = createBatcher<TrajectoryInput, Verdict>({
    name: `scorer ${name}`,
    batchSize: options.batchSize,
    waitMs: options.batchWaitMs,
    concurrency: options.concurrency,
    capacity: MAX_WAITING,
    clock,
    call: ask,
  });
  return {
    info: { name, version: options.version, deterministic, optional },
    activity: () => ({
      name,
      calls,
      failedCalls: failures,
      circuit: circuit.type,
      waiting: batcher.depth,
      lastFailure,
    }),
    async score(inputs, signal) {
      if (inputs.length === 0) return [];
      try {
        return await batcher.ask(inputs, signal);
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
