/** The shape of every reducer here: a state and an event give the next state and what is to be done about it. */

/** `effects` are data; whoever owns clients, clocks and threads applies them, in order. */
export interface Transition<State, Effect> {
  readonly state: State;
  readonly effects: readonly Effect[];
}

/** A transition that only changes state, or nothing at all. */
export function quiet<State>(state: State): Transition<State, never> {
  return { state, effects: [] };
}
