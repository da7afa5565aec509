/**
 * Whether a scorer that has failed is called again, as a pure reducer: after so many failures in a row the circuit opens and
 * nobody calls; when its time is over one call tries, and its outcome closes the circuit or opens it for longer.
 */

export type CircuitState =
  | { readonly type: "closed"; readonly failures: number }
  /** Nobody calls before `untilMs`. `trips` counts openings since the last success. */
  | { readonly type: "open"; readonly trips: number; readonly untilMs: number }
  /** One call is under way that decides; should it never end, another may try after `untilMs`. */
  | { readonly type: "half-open"; readonly trips: number; readonly untilMs: number };

export type CircuitEvent =
  | { readonly type: "called"; readonly nowMs: number }
  | { readonly type: "succeeded" }
  | { readonly type: "failed"; readonly nowMs: number };

export interface CircuitOptions {
  /** Failures in a row that open it. */
  readonly threshold: number;
  /** How long it is open the first time; doubled each time, up to `maxOpenMs`. */
  readonly openMs: number;
  readonly maxOpenMs: number;
}

export const CLOSED: CircuitState = { type: "closed", failures: 0 };

/** Milliseconds until a call may be made; 0: now. */
export function circuitWaitMs(state: CircuitState, nowMs: number): number {
  return state.type === "closed" ? 0 : Math.max(0, state.untilMs - nowMs);
}

/** Applies one event. */
export function reduceCircuit(
  state: CircuitState,
  event: CircuitEvent,
  options: CircuitOptions,
): CircuitState {
  if (event.type === "succeeded") return CLOSED;
  const { threshold, openMs, maxOpenMs } = options;
  if (event.type === "called") {
    if (state.type === "closed" || state.untilMs > event.nowMs) return state;
    return { type: "half-open", trips: state.trips, untilMs: event.nowMs + maxOpenMs };
  }
  if (state.type === "open") return state; // a call from before it opened
  const failures = state.type === "closed" ? state.failures + 1 : threshold;
  if (failures < threshold) return { type: "closed", failures };
  const trips = state.type === "closed" ? 0 : state.trips;
  const untilMs = event.nowMs + Math.min(maxOpenMs, openMs * 2 ** trips);
  return { type: "open", trips: trips + 1, untilMs };
}
