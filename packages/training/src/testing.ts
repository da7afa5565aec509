/** For tests: the whole state of a trainer at once, of small models. */
import type { TrainerCore } from "./core.ts";
import type { StateArray, TrainerState } from "./types.ts";

export function stateOf(core: TrainerCore): TrainerState {
  const { arrays, elements, ...steps } = core.stateFacts();
  const copy = (name: StateArray): Float32Array => {
    const into = new Float32Array(elements);
    core.copyState(name, into);
    return into;
  };
  return {
    weights: copy("weights"),
    firstMoments: copy("firstMoments"),
    secondMoments: copy("secondMoments"),
    ...(arrays.includes("reference") ? { reference: copy("reference") } : {}),
    ...steps,
  };
}
