/**
 * The critic's loss, one token at a time: half the squared error, and with a clip the worse of the error now and the error
 * of a value that moved at most ε away from the one before the update (PPO2 of OpenAI baselines; verl, OpenRLHF, TRL):
 *
 *   ½ · max((V − G)², (V_old + clip(V − V_old, ±ε) − G)²)
 *
 * In plain numbers: the reference that the graph form is held against.
 */
export interface ValueToken {
  readonly value: number;
  /** V before the first update of the batch. */
  readonly oldValue: number;
  /** G. */
  readonly return: number;
}

/** `clip` is ε; 0: no clip. To be minimised. */
export function valueLoss({ value, oldValue, return: target }: ValueToken, clip: number): number {
  const free = (value - target) ** 2;
  if (clip <= 0) return free / 2;
  const moved = oldValue + Math.min(Math.max(value - oldValue, -clip), clip);
  return Math.max(free, (moved - target) ** 2) / 2;
}
