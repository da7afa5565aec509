/**
 * Reward models from files: the one that a plan names, looked at before anything starts, and weights that a run takes while it
 * goes on.
 */
import { OarlockError } from "@oarlock/errors";
import { loadModel, type LoadProgress } from "@oarlock/models";
import { canonicalJson, type ModelShape, type ScorerInput, sourcePath } from "@oarlock/runfile";
import { createTokenizer } from "@oarlock/tokenizer";
import type { OpenedModel } from "./model.ts";
import { readModel } from "./read-model.ts";

const CODE = "REWARD_MODEL_INVALID";
const ACCEPTED = "a reward model: one label (e.g. LlamaForSequenceClassification)";

/** Whose samples are scored: token by token, so that both must number tokens alike. */
export interface ScoredPolicy {
  readonly config: Pick<OpenedModel["config"], "vocabSize">;
  readonly tokenizer: Pick<OpenedModel["tokenizer"], "vocabulary">;
}

export interface OpenRewardModelOptions {
  /** Relative paths are relative to this folder. */
  readonly baseDir: string;
  readonly policy: ScoredPolicy;
  /** Weights that other threads read too. */
  readonly shared?: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: LoadProgress) => void;
}

/** Opens what a reward names. Any shape will do. @throws OarlockError `REWARD_MODEL_INVALID` where it cannot score this policy's samples. */
export async function openRewardModel(
  from: string,
  { policy, ...options }: OpenRewardModelOptions,
): Promise<ScorerInput & { readonly weights: Float32Array }> {
  const { config, weights, digest, tokenizer } = await loadModel(sourcePath(from), options);
  const { head, ...shape } = config;
  const refuse = (why: string, accepted = ACCEPTED): never => {
    throw new OarlockError(CODE, `${from} ${why}; accepted: ${accepted}`);
  };
  if (head !== "score") refuse("is a language model: it gives text and no score");
  const vocabulary = tokenizer && createTokenizer(tokenizer).vocabulary;
  const rows = policy.config.vocabSize;
  if (shape.vocabSize < rows || (vocabulary === undefined && shape.vocabSize !== rows))
    refuse(
      `has ${shape.vocabSize} tokens, and the policy ${rows}`,
      "a reward model of the policy's tokenizer",
    );
  const other =
    vocabulary && [...policy.tokenizer.vocabulary].find(([token, id]) => vocabulary.get(token) !== id);
  if (other !== undefined) {
    const [token, id] = other;
    const said = `token ${id} of the policy is ${JSON.stringify(token)}, which is ${vocabulary?.get(token) ?? "absent"} here`;
    refuse(`has another tokenizer: ${said}`, "a reward model of the policy's tokenizer");
  }
  return { from, shape, digest, weights };
}

/**
 * A reward model that was trained elsewhere or by another run, for this one. Read in a thread of its own: the run goes on (P1).
 *
 * @throws OarlockError `REWARD_MODEL_INVALID` where it cannot score this policy's samples, or is of another shape than `shape`.
 */
export async function readRewardModel(
  { shape, policy }: { readonly shape: ModelShape; readonly policy: ScoredPolicy },
  of: { readonly source: string; readonly baseDir: string; readonly signal: AbortSignal },
): Promise<{ readonly weights: Float32Array; readonly digest: string }> {
  const { shape: found, weights, digest } = await readModel({ ...of, policy });
  const given = new Map<string, unknown>(Object.entries(found));
  const differs = Object.entries(shape).filter(
    ([name, value]) =>
      name !== "head" && canonicalJson(given.get(name) ?? null) !== canonicalJson(value ?? null),
  );
  if (differs.length === 0) return { weights, digest };
  const said = differs.map(
    ([name, value]) => `${name} is ${String(given.get(name))} and not ${String(value)}`,
  );
  throw new OarlockError(
    CODE,
    `${of.source}: ${said.join(", ")}; accepted: a reward model of the architecture of the one that it is for`,
  );
}
