/** Traps in the model and the machine: shapes that do not fit together, layouts that break D3, memory. */
import { formatBytes } from "./format.ts";
import { type AllowableTrap, type TrapCheck, trapWhen } from "./trap.ts";

const INIT = ["spec", "model", "init"] as const;

const heads: TrapCheck = ({ spec }) => {
  if (!("init" in spec.model)) return [];
  const { hiddenSize, heads: queries, kvHeads, headSize } = spec.model.init;
  return [
    ...trapWhen(hiddenSize % queries !== 0 && headSize * queries !== hiddenSize, () => ({
      code: "HEADS_DO_NOT_DIVIDE",
      path: [...INIT, "heads"],
      message: `${queries} heads do not divide hiddenSize ${hiddenSize}`,
      value: String(queries),
      accepted: `heads: ${divisorBelow(hiddenSize, queries)}, or a headSize of your own`,
    })),
    ...trapWhen(queries % kvHeads !== 0, () => ({
      code: "KV_HEADS_DO_NOT_DIVIDE",
      path: [...INIT, "kvHeads"],
      message: `${kvHeads} key-value heads do not divide ${queries} heads`,
      value: String(kvHeads),
      accepted: `kvHeads: ${divisorBelow(queries, kvHeads)}`,
    })),
    ...trapWhen(headSize % 2 !== 0, () => ({
      code: "HEAD_SIZE_ODD",
      path: [...INIT, "headSize"],
      message: `rotary embeddings turn pairs, and the head size is ${headSize}`,
      value: String(headSize),
      accepted: `headSize: ${headSize + 1}, or fewer heads`,
    })),
  ];
};

function divisorBelow(total: number, from: number): number {
  let divisor = Math.max(1, Math.min(from, total));
  while (total % divisor !== 0) divisor--;
  return divisor;
}

const alphabet: TrapCheck = ({ spec }) => {
  if (!("init" in spec.model) || spec.model.init.tokenizer.type !== "characters") return [];
  const characters = Array.from(spec.model.init.tokenizer.characters.alphabet);
  const repeated = characters.find((character, at) => characters.indexOf(character) !== at);
  return trapWhen(repeated !== undefined, () => ({
    code: "ALPHABET_REPEATS",
    path: [...INIT, "tokenizer", "characters", "alphabet"],
    message: "a character is in the alphabet twice",
    value: JSON.stringify(repeated),
    accepted: "every character once",
  }));
};

const layout: TrapCheck = ({ spec: { compute } }) =>
  trapWhen(compute.generationLayout === "inputs" && compute.generationThreads > 1, () => ({
    code: "BATCH_VARIANCE",
    path: ["spec", "compute", "generationThreads"],
    message: "weights as inputs and several threads: a sequence's bits would depend on its neighbours (D3)",
    value: String(compute.generationThreads),
    accepted: "generationThreads: 1, or generationLayout: initializers",
  }));

const memory: TrapCheck = ({ spec, facts, memory: estimate }) =>
  trapWhen(estimate.total > facts.machine.memoryBytes, (): AllowableTrap => {
    const parts = Object.entries(estimate).filter(([part]) => part !== "total");
    const [largest = "", bytes = 0] = parts.toSorted(([, left], [, right]) => right - left)[0] ?? [];
    return {
      code: "MEMORY",
      path: ["spec", largest === "activations" || largest === "trainer" ? "stages" : "compute"],
      message: `the run needs about ${formatBytes(estimate.total)} and may use ${formatBytes(facts.machine.memoryBytes)}; the most goes to ${largest} (${formatBytes(bytes)})`,
      accepted: MENDS[largest] ?? `a smaller model${spec.compute.actors > 1 ? ", or fewer actors" : ""}`,
    };
  });

const MENDS: Readonly<Record<string, string>> = {
  activations: "a smaller microBatchSize or a shorter maxLength / maxNewTokens",
  cache: "fewer slots, fewer actors or a smaller maxNewTokens",
  samplers: "fewer actors, or generationLayout: inputs with one thread",
  trainer: "a smaller model",
};

/** Checks of model, engine and memory. */
export const MODEL_TRAPS: readonly TrapCheck[] = [heads, alphabet, layout, memory];
