/**
 * Generalised advantage estimation (Schulman et al., arXiv:1506.02438, eq. 16) over one completion:
 *
 *   δ_t = r_t + γ·V_{t+1} − V_t,   A_t = δ_t + γλ·A_{t+1},   return_t = A_t + V_t
 *
 * V_t is the value before token t; after the last token there is nothing to come, V = 0. λ = 1 gives return − V, λ = 0 the
 * one-step error. Returns are those before any whitening. Pure numbers, float64.
 */
import { OarlockError } from "@oarlock/errors";

export interface GaeSettings {
  /** γ, the discount per token: 1 for language models. */
  readonly gamma: number;
  /** λ. */
  readonly lambda: number;
}

export interface Advantages {
  readonly advantages: Float64Array;
  /** What the critic should have said. */
  readonly returns: Float64Array;
}

/** `rewards` and `values` by token of one completion; throws `RL_LENGTHS` where they are not as many. */
export function generalisedAdvantages(
  rewards: ArrayLike<number>,
  values: ArrayLike<number>,
  { gamma, lambda }: GaeSettings,
): Advantages {
  const length = rewards.length;
  if (values.length !== length) {
    throw new OarlockError(
      "RL_LENGTHS",
      `${length} rewards and ${values.length} values: one of each a token`,
    );
  }
  const advantages = new Float64Array(length);
  const returns = new Float64Array(length);
  let nextValue = 0;
  let nextAdvantage = 0;
  for (let t = length - 1; t >= 0; t--) {
    const value = values[t] ?? 0;
    const delta = (rewards[t] ?? 0) + gamma * nextValue - value;
    nextAdvantage = delta + gamma * lambda * nextAdvantage;
    advantages[t] = nextAdvantage;
    returns[t] = nextAdvantage + value;
    nextValue = value;
  }
  return { advantages, returns };
}
