/**
 * Calls of a scorer in another process, one at a time as its caller asks: behind a circuit breaker, with a deadline, and each
 * wait under its name (L1). It does not know which samples are asked for again.
 */
import { causeChain, isOarlockError } from "@oarlock/errors";
import { failed } from "@oarlock/rewards";
import type { Verdict } from "@oarlock/rewards";
import { processWaits, sleep, systemClock, waitFor } from "@oarlock/runtime";
import type { Clock, WaitRegistry } from "@oarlock/runtime";
import type { ScorerActivity, TrajectoryInput } from "../scorer-set.ts";
import { circuitWaitMs, CLOSED, reduceCircuit } from "./circuit-breaker.ts";
import type { CircuitEvent, CircuitOptions, CircuitState } from "./circuit-breaker.ts";
import { pinned } from "./scorer-line.ts";
import type { ScorerLine } from "./scorer-line.ts";

export interface GuardedLineOptions {
  readonly name: string;
  /** Of one call. */
  readonly timeoutMs: number;
  readonly line: ScorerLine;
  readonly clock?: Clock;
  readonly registry?: WaitRegistry;
}

export interface GuardedLine {
  /** Waits for the pause and until the circuit lets a call through; false where the time would be over by then. */
  mayCall(pauseMs: number, untilMs: number, signal: AbortSignal): Promise<boolean>;
  /**
   * One call; what it throws becomes the verdict on all of its inputs, and verdicts of another version than the pinned one are
   * failures ("": any will do).
   */
  call(inputs: readonly TrajectoryInput[], signal: AbortSignal, version: string): Promise<readonly Verdict[]>;
  /** Why the last failed call failed; "" if none has. */
  readonly lastFailure: string;
  activity(): ScorerActivity;
}

const CIRCUIT: CircuitOptions = { threshold: 5, openMs: 500, maxOpenMs: 30_000 };

export function guardedLine(options: GuardedLineOptions): GuardedLine {
  const { name, line, timeoutMs, clock = systemClock, registry = processWaits } = options;
  let circuit: CircuitState = CLOSED;
  let lastFailure = "";
  let [calls, failures] = [0, 0];
  const dispatch = (event: CircuitEvent): void => void (circuit = reduceCircuit(circuit, event, CIRCUIT));
  return {
    async mayCall(pauseMs, untilMs, signal) {
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
    },
    async call(inputs, signal, version) {
      calls++;
      const waitName = `scorer ${name} at ${line.address} to score ${inputs.length} samples`;
      try {
        const verdicts = await waitFor(waitName, (inner) => line.call(inputs, inner, version), {
          timeoutMs,
          signal,
          clock,
          registry,
        });
        dispatch({ type: "succeeded" });
        return verdicts.map((verdict) => pinned(verdict, version));
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
    },
    get lastFailure() {
      return lastFailure;
    },
    activity: () => ({ name, calls, failedCalls: failures, circuit: circuit.type, lastFailure }),
  };
}
