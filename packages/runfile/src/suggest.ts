/** Did-you-mean for misspelt words and for names that other frameworks use. Pure; knows no schema. */

/** Names of TRL, verl and OpenRLHF for what a run file calls otherwise. */
const FOREIGN_NAMES: ReadonlyMap<string, string> = new Map([
  ["lr", "optimizer.learningRate"],
  ["learning_rate", "optimizer.learningRate"],
  ["num_generations", "groupSize"],
  ["n_samples_per_prompt", "groupSize"],
  ["beta", "kl.coefficient"],
  ["kl_coef", "kl.coefficient"],
  ["kl_loss_coef", "kl.coefficient"],
  ["max_completion_length", "sampling.maxNewTokens"],
  ["max_new_tokens", "sampling.maxNewTokens"],
  ["max_steps", "steps"],
  ["num_iterations", "epochs"],
  ["ppo_epochs", "epochs"],
  ["loss_type", "aggregation"],
  ["loss_agg_mode", "aggregation"],
  ["clip_ratio", "clip.low and clip.high"],
  ["clip_ratio_c", "dualClip"],
  ["epsilon_high", "clip.high"],
  ["warmup_steps", "optimizer.warmupSteps"],
  ["max_grad_norm", "optimizer.maxGradNorm"],
  ["weight_decay", "optimizer.weightDecay"],
  ["per_device_train_batch_size", "microBatchSize"],
  ["reward_funcs", "rewards"],
  ["reward", "rewards"],
  ["save_steps", "checkpoints.every"],
  ["model_name_or_path", "model.from"],
]);

/** What a user of another framework means by `key`, if it is one of their names. */
export function foreignName(key: string): string | undefined {
  return FOREIGN_NAMES.get(key);
}

/** The word of `words` nearest to `word`, if near enough to be a slip of the finger. */
export function nearest(word: string, words: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[-_]/g, "");
  const allowed = Math.max(1, Math.floor(word.length / 3));
  let best: string | undefined;
  let bestDistance = allowed + 1;
  for (const candidate of words) {
    const distance = editDistance(plain(word), plain(candidate));
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Longest word compared; longer ones are not slips of the finger. */
const COMPARED_CHARACTERS = 64;

/** Damerau–Levenshtein distance (insert, delete, replace, swap neighbours). */
export function editDistance(left: string, right: string): number {
  if (left.length > COMPARED_CHARACTERS || right.length > COMPARED_CHARACTERS) return COMPARED_CHARACTERS;
  let beforeLast: number[] = [];
  let last = Array.from({ length: right.length + 1 }, (_, at) => at);
  for (let row = 1; row <= left.length; row++) {
    const next = [row];
    for (let column = 1; column <= right.length; column++) {
      const replace = at(last, column - 1) + (left[row - 1] === right[column - 1] ? 0 : 1);
      let distance = Math.min(replace, at(last, column) + 1, at(next, column - 1) + 1);
      const swapped = left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      if (row > 1 && column > 1 && swapped) distance = Math.min(distance, at(beforeLast, column - 2) + 1);
      next.push(distance);
    }
    [beforeLast, last] = [last, next];
  }
  return at(last, right.length);
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY;
}
