/**
 * The scorers of a run: one set per distinct list of rewards, so that an evaluation by the stage's own rewards shares it.
 * Verifiers and functions are in a pool of threads, reward models in threads of their own, others in processes of their own.
 */
import type { Bus } from "@oarlock/bus";
import type { LlamaConfig } from "@oarlock/nn";
import { withScoreHead } from "@oarlock/nn";
import {
  canonicalJson,
  clusterSource,
  isStageResult,
  rolloutsOf,
  scorerNumber,
  scorerShape,
  sourcePath,
} from "@oarlock/runfile";
import type { ResolvedModelReward, ResolvedReward, ResolvedRun } from "@oarlock/runfile";
import { openScorers } from "@oarlock/sandbox";
import { processEnvironment } from "@oarlock/runtime";
import type { Environment } from "@oarlock/runtime";
import {
  cachedScorer,
  combineScorers,
  createEnsembleScorer,
  createFunctionScorer,
  createModelScorer,
  openRewardModelStore,
  stepEnds,
} from "@oarlock/scoring";
import type { BatchScorer, RewardModelSource, ScorerPlace, ScorerSet } from "@oarlock/scoring";
import type { Tokenizer } from "@oarlock/tokenizer";
import { createScoreModel } from "@oarlock/training";
import { engineOf } from "./engines.ts";
import { openServiceScorer } from "./service-scorers.ts";

export interface OpenedScorers extends AsyncDisposable {
  readonly scorers: {
    /** By stage index; a stage without rollouts has none. */
    readonly stages: ReadonlyMap<number, ScorerSet>;
    readonly evaluation: ScorerSet | undefined;
  };
}

/** Where the reward model is that a reward names. */
export type RewardModels = (from: string) => Promise<RewardModelSource>;

export interface ScorersOptions {
  /** Folder that reward files are relative to. */
  readonly baseDir: string;
  readonly rewardModels: RewardModels;
  /** Of the run's policy. */
  readonly config: LlamaConfig;
  /** With which the steps of a completion are found. */
  readonly tokenizer: Pick<Tokenizer, "decode">;
  /** Where tokens of scorers in other processes are. Default: the process's own. */
  readonly environment?: Environment;
}

export type RunScorersOptions = Omit<ScorersOptions, "rewardModels"> & {
  readonly bus: Bus;
  readonly uid: string;
};

type ServiceReward = Extract<ResolvedReward, { type: "http" | "grpc" | "judge" }>;
type FunctionReward = Extract<ResolvedReward, { type: "function" }>;
type BatchReward = Extract<ResolvedReward, { type: "model" | "ensemble" }> | ServiceReward | FunctionReward;

/** Verifiers and functions, which read text in the pool's threads; what is remembered has threads of its own. */
function isPooled(
  reward: ResolvedReward,
): reward is Exclude<ResolvedReward, Exclude<BatchReward, FunctionReward>> {
  if (reward.type === "function") return reward.function.deterministic !== true;
  return !["model", "ensemble", "http", "grpc", "judge"].includes(reward.type);
}

/** A scorer that judges whole batches; a deterministic one remembers its scores. */
async function openBatchScorer(
  run: ResolvedRun,
  reward: BatchReward,
  options: ScorersOptions,
): Promise<BatchScorer> {
  if (reward.type === "model") return cachedScorer(await openModelScorer(run, reward, reward.model, options));
  if (reward.type === "function") {
    const workers = run.spec.compute.rewardWorkers;
    const pool = await openScorers([withCode(reward)], { baseDir: options.baseDir, workers });
    return cachedScorer(createFunctionScorer(pool));
  }
  if (reward.type !== "ensemble") {
    const { baseDir, environment = processEnvironment() } = options;
    const scorer = await openServiceScorer(reward, { baseDir, environment });
    return reward.service.deterministic ? cachedScorer(scorer) : scorer;
  }
  const { name, optional, ensemble } = reward;
  const members: BatchScorer[] = [];
  for (const from of ensemble.from) members.push(await openModelScorer(run, reward, { from }, options));
  return cachedScorer(createEnsembleScorer({ name, optional, ...ensemble, members }));
}

/** Opens the scorers of every stage and of the evaluation. */
export async function openRunScorers(run: ResolvedRun, options: RunScorersOptions): Promise<OpenedScorers> {
  const { bus, uid } = options;
  const rewardModels: RewardModels = (from) =>
    openRewardModelStore({
      bus,
      uid,
      number: scorerNumber(run.spec, from),
      config: scorerShape(run.inputs, from),
      incarnation: 0,
    });
  const opener = createOpener(run, { ...options, rewardModels });
  try {
    const stages = new Map<number, ScorerSet>();
    for (const [index, stage] of run.spec.stages.entries()) {
      const rollouts = rolloutsOf(stage);
      if (rollouts !== undefined) stages.set(index, await opener.open(rollouts.rewards));
    }
    const { evaluation } = run.spec;
    const evaluated = evaluation === undefined ? undefined : await opener.open(evaluation.rewards);
    return { scorers: { stages, evaluation: evaluated }, [Symbol.asyncDispose]: () => opener.close() };
  } catch (reason) {
    await opener.close();
    throw reason;
  }
}

/** Opens the scorers of one list of rewards, outside a run. */
export async function openScorerSet(
  run: ResolvedRun,
  rewards: readonly ResolvedReward[],
  options: ScorersOptions,
): Promise<AsyncDisposable & { readonly set: ScorerSet }> {
  const opener = createOpener(run, options);
  try {
    return { set: await opener.open(rewards), [Symbol.asyncDispose]: () => opener.close() };
  } catch (reason) {
    await opener.close();
    throw reason;
  }
}

interface Opener {
  open(rewards: readonly ResolvedReward[]): Promise<ScorerSet>;
  close(): Promise<void>;
}

function createOpener(run: ResolvedRun, options: ScorersOptions): Opener {
  const sets = new Map<string, ScorerSet>();
  const closing: (() => Promise<void>)[] = [];
  return {
    async open(rewards) {
      const key = canonicalJson(rewards);
      const known = sets.get(key);
      if (known !== undefined) return known;
      const pooled = rewards.filter(isPooled);
      const { baseDir } = options;
      const workers = run.spec.compute.rewardWorkers;
      const pool = await openScorers(pooled.map(withCode), { baseDir, workers });
      closing.push(() => pool.close());
      const places: ScorerPlace[] = [];
      for (const reward of rewards) {
        if (isPooled(reward)) {
          places.push({ pooled: pooled.indexOf(reward) });
          continue;
        }
        const model = await openBatchScorer(run, reward, options);
        closing.push(() => model.close());
        places.push({ model });
      }
      const set = combineScorers(pool, places);
      sets.set(key, set);
      return set;
    },
    close: async () => void (await Promise.all(closing.map((end) => end()))),
  };
}

/** A function as the sandbox opens it: what is in a bundle was compiled when it was packed. */
function withCode<R extends ResolvedReward>(reward: R): R {
  if (reward.type !== "function") return reward;
  const { file } = reward.function;
  const bundled = clusterSource(file)?.scheme === "bundle";
  return { ...reward, function: { ...reward.function, file: sourcePath(file), bundled } };
}

/** The plan has checked that the reference names a reward model: of an earlier stage, or one that it read. */
async function openModelScorer(
  run: ResolvedRun,
  { name, optional, timeoutMs }: Pick<ResolvedReward, "name" | "optional" | "timeoutMs">,
  { from, stepEnd }: ResolvedModelReward,
  { rewardModels, config, tokenizer }: ScorersOptions,
): Promise<BatchScorer> {
  const store = await rewardModels(from);
  const shape = isStageResult(from) ? config : scorerShape(run.inputs, from);
  const open = (weights: Float32Array) =>
    createScoreModel({ config: withScoreHead(shape), weights, ort: engineOf(run, 1) });
  const scorer = { name, optional, timeoutMs, store, open };
  if (stepEnd === undefined) return createModelScorer(scorer);
  const decode = (tokens: readonly number[]) => tokenizer.decode(tokens, { skipSpecialTokens: true });
  return createModelScorer({
    ...scorer,
    stepEnds: (completion) => stepEnds(completion, { decode, end: stepEnd }),
  });
}
