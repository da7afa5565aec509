/**
 * One step of PPO: the batch's log-probs are computed once, by the learner, in the batches of the first pass (so that its first
 * ratio is exactly 1), and so are values and those of the reference, unless the actors sent them along; then policy and critic
 * learn from the same rows in the same order.
 */
import type { Trajectory } from "@oarlock/proto";
import { weightsWithHead } from "@oarlock/nn";
import { nextKlCoefficient, passOrder } from "@oarlock/rl";
import { correctionOf, referenceBy, valuesBy } from "@oarlock/runfile";
import type { ResolvedPpo, ResolvedReward } from "@oarlock/runfile";
import { traced } from "@oarlock/runtime";
import type { LogprobSource, StepOptions, StepResult, TrainingRow } from "@oarlock/training";
import { collectBatch } from "./collect-batch.ts";
import type { LearnerParts, LearnerProgress } from "./context.ts";
import { batchMoments, judgeSamples } from "./grpo-batch.ts";
import type { JudgedSample } from "./grpo-batch.ts";
import { batchMetrics, updateMetrics } from "./metrics.ts";
import { offPolicyMetrics, withImportance } from "./off-policy.ts";
import { namedValues } from "./named-values.ts";
import { dataOrder } from "./order.ts";
import { assemblePpoBatch } from "./ppo-batch.ts";
import type { PpoBatch } from "./ppo-batch.ts";
import type { RewardMoments } from "./reward-shaping.ts";
import { criticStepOptions, miniBatchSize, ppoStepOptions } from "./step-options.ts";
import type { PpoMoment } from "./step-options.ts";
import { tracedUpdate } from "./step-traces.ts";
import { signalOf } from "./token-signals.ts";

type Numbers = Readonly<Record<string, number>>;
type Place = { readonly stage: number; readonly step: number };

export interface PpoOutcome {
  /** Undefined: nothing could be learned, or the critic alone was trained. */
  readonly policy: StepResult | undefined;
  readonly critic: StepResult | undefined;
  readonly metrics: Numbers;
  readonly groups: readonly (readonly JudgedSample[])[];
  /** β of the next step. */
  readonly klCoefficient: number;
  readonly rewardMoments: RewardMoments | undefined;
}

export interface PpoStep {
  readonly ppo: ResolvedPpo;
  readonly at: Place;
  /** Hears of the batch before anything is made of it. */
  readonly onCollected: (groups: readonly (readonly Trajectory[])[]) => void;
}

/** A judged sample that learning can use: scored, with a token to train. */
type Used = JudgedSample & { readonly score: number };

function usable(groups: readonly (readonly JudgedSample[])[]): Used[] {
  return groups.flat().flatMap((sample) => {
    const score = sample.reward.total;
    return score === undefined || !sample.row.lossMask.includes(1) ? [] : [{ ...sample, score }];
  });
}

/** Trains policy and critic on the batch of a step. */
export async function ppoStep(
  parts: LearnerParts,
  progress: LearnerProgress,
  { ppo, at, onCollected }: PpoStep,
): Promise<PpoOutcome> {
  const { clock, tracer } = parts;
  const startMs = clock.monotonicMs();
  const trajectories = await collectBatch(parts, { purpose: "rollout", stage: at.stage, step: at.step });
  onCollected(trajectories);
  const collectedMs = clock.monotonicMs();
  const rewardMoments = batchMoments(progress.rewardMoments, trajectories, ppo);
  const groups = judgeSamples(trajectories, ppo, rewardMoments);
  const used = usable(groups);
  const klCoefficient = progress.klCoefficient ?? ppo.kl.coefficient;
  const gen = { "timing_s/gen": (collectedMs - startMs) / 1000 };
  if (used.length === 0) {
    const metrics = { ...batchNumbers(trajectories, { groups, rewards: ppo.rewards }, undefined), ...gen };
    return { policy: undefined, critic: undefined, metrics, groups, klCoefficient, rewardMoments };
  }
  const order = ordersOf(parts, ppo, at, used.length);
  const correction = correctionOf(parts.run.spec.pipeline);
  const moment: PpoMoment = {
    step: at.step,
    klCoefficient,
    order,
    mixed: mixedRows(parts, ppo, at),
    correction,
  };
  const forward = await startNumbers(parts, { ppo, at }, used, moment);
  const samples = forward.samples.map((sample) => withImportance(sample, correction));
  const batch = await traced(tracer, { name: "advantages" }, async () =>
    assemblePpoBatch(samples, ppo, klCoefficient),
  );
  const options = ppoStepOptions(ppo, moment);
  const { critic, policy } = await updates(parts, { ppo, moment, batch, options });
  const next = nextKlCoefficient(
    klCoefficient,
    { ...ppo.kl, type: ppo.kl.controller },
    { kl: batch.kl, samples: used.length },
  );
  const metrics = {
    ...batchNumbers(trajectories, { groups, rewards: ppo.rewards }, { used, batch }),
    ...(critic.value === undefined
      ? trunkMetrics(policy.value, batch)
      : criticMetrics(critic.value, batch, criticStepOptions(ppo, moment))),
    ...(policy.value === undefined ? {} : policyMetrics(policy.value, options)),
    ...offPolicyMetrics(forward.samples, correction),
    "actor/reward_kl_penalty": batch.tokenKl,
    "actor/kl_per_sample": batch.kl,
    "actor/reward_kl_penalty_coeff": klCoefficient,
    ...gen,
    ...forward.seconds,
    "timing_s/update_critic": critic.seconds,
    "timing_s/update_actor": policy.seconds,
  };
  return { policy: policy.value, critic: critic.value, metrics, groups, klCoefficient: next, rewardMoments };
}

interface Updated {
  readonly policy: { readonly value: StepResult | undefined; readonly seconds: number };
  readonly critic: { readonly value: StepResult | undefined; readonly seconds: number };
}

/** Policy and critic learn from the same rows: each by itself, or as one network; the critic alone while it warms up. */
async function updates(
  parts: LearnerParts,
  step: {
    readonly ppo: ResolvedPpo;
    readonly moment: PpoMoment;
    readonly batch: PpoBatch;
    readonly options: StepOptions;
  },
): Promise<Updated> {
  const { trainer, scorer, signal, run } = parts;
  const { ppo, moment, batch, options } = step;
  const warmsUp = moment.step < ppo.critic.warmupSteps;
  if (ppo.critic.network === "trunk" && !warmsUp) {
    const policy = await timed(parts, () =>
      tracedUpdate(parts, "policy", () => scorer.get().step(batch.rows, options, signal)),
    );
    const { weights } = await scorer.get().policy();
    const config = { ...run.inputs.model.shape, head: "both" } as const;
    // The policy's own trainer holds what is published, saved and compared with.
    await trainer.load(weightsWithHead({ config, weights }, "logits"));
    return { policy, critic: { value: undefined, seconds: 0 } };
  }
  const critic = await timed(parts, () =>
    tracedUpdate(parts, "critic", () =>
      scorer.get().step(batch.rows, criticStepOptions(ppo, moment), signal),
    ),
  );
  const policy = await timed(parts, async () =>
    warmsUp ? undefined : tracedUpdate(parts, "policy", () => trainer.step(batch.rows, options, signal)),
  );
  return { policy, critic };
}

/** A permutation for every pass, keyed by where the run is (D2). */
function ordersOf({ run }: LearnerParts, { epochs }: ResolvedPpo, at: Place, count: number): Int32Array[] {
  const { seed } = run.spec;
  return Array.from({ length: epochs }, (_, pass) =>
    passOrder({ seed, stage: at.stage, step: at.step, pass, count }),
  );
}

/** The demonstrations that go into every update of this step. */
function mixedRows({ run, data }: LearnerParts, { ptx }: ResolvedPpo, at: Place): TrainingRow[] {
  if (ptx === undefined) return [];
  const rows = data.demonstrations(at.stage);
  const { seed } = run.spec;
  const order = dataOrder({ seed, stage: at.stage, count: rows.length, perStep: ptx.batchSize, mixed: true });
  return order.rowsOf(at.step).flatMap((index) => rows[index] ?? []);
}

async function timed<T>(
  { clock }: LearnerParts,
  work: () => Promise<T>,
): Promise<{ value: T; seconds: number }> {
  const startMs = clock.monotonicMs();
  const value = await work();
  return { value, seconds: (clock.monotonicMs() - startMs) / 1000 };
}

/** Log-probs, reference log-probs and values before the first update, each computed once. */
async function startNumbers(
  parts: LearnerParts,
  { ppo, at }: Pick<PpoStep, "ppo" | "at">,
  used: readonly Used[],
  { order: [order] }: PpoMoment,
): Promise<{ samples: Parameters<typeof assemblePpoBatch>[0]; seconds: Numbers }> {
  const { trainer, scorer, tracer, signal } = parts;
  const rows = used.map(({ row }) => row);
  const batching = {
    microBatchSize: ppo.microBatchSize,
    miniBatchSize: miniBatchSize(ppo),
    trainedOnly: true,
    ...(order === undefined ? {} : { order }),
  };
  const atTemperature = { ...batching, temperature: ppo.sampling.temperature };
  const under = <T>(name: string, work: () => Promise<T>): Promise<T> => traced(tracer, { name }, work);
  // The numbers of the very graph that learns: on one trunk, that of policy and values together.
  const learning = ppo.critic.network === "trunk" ? scorer.get() : trainer;
  const logprobs = (source: LogprobSource) => (): Promise<Float32Array[]> =>
    (source === "policy" ? learning : trainer).logprobs(rows, source, atTemperature, signal);
  const old = await timed(parts, () => under("policy logprobs", logprobs("policy")));
  const stage = parts.run.spec.stages[at.stage];
  const sent = (what: Parameters<typeof signalOf>[1]): Float32Array[] =>
    used.map(({ trajectory }) => signalOf(trajectory, what));
  const reference = await timed(parts, async () => {
    const by = referenceBy(stage);
    if (by === "actors") return sent("reference log-probs");
    return by === "learner" ? under("reference logprobs", logprobs("reference")) : undefined;
  });
  const values = await timed(parts, async () =>
    valuesBy(stage) === "actors"
      ? sent("values")
      : under("values", () => scorer.get().scores(rows, batching, signal)),
  );
  const none = (row: TrainingRow): Float32Array => new Float32Array(row.tokens.length);
  return {
    samples: used.map(({ row, score, reward }, i) => ({
      row,
      score: reward.spread?.sequence ?? score,
      ...(reward.spread === undefined ? {} : { tokenScores: reward.spread.tokens }),
      logprobs: old.value[i] ?? none(row),
      refLogprobs: reference.value?.[i],
      values: values.value[i] ?? none(row),
    })),
    seconds: {
      "timing_s/old_log_prob": old.seconds,
      "timing_s/ref": reference.seconds,
      "timing_s/values": values.seconds,
    },
  };
}

function policyMetrics(result: StepResult, options: StepOptions): Numbers {
  return {
    ...updateMetrics(result, options),
    ...(options.mix === undefined ? {} : { "actor/ptx_loss": result.sums.mixedNll }),
    "actor/updates": result.updates.length,
    "actor/stopped_at_kl": result.stopped ? 1 : 0,
  };
}

function criticMetrics(
  { sums, gradNorm, applied }: StepResult,
  batch: PpoBatch,
  options: StepOptions,
): Numbers {
  return {
    "critic/vf_loss": sums.loss,
    "critic/vf_clipfrac": sums.valueClipFraction,
    ...valueMetrics(batch),
    "critic/grad_norm": gradNorm,
    "critic/lr": options.optimizer.learningRate,
    "critic/update_rejected": applied ? 0 : 1,
  };
}

/** Of a value head on the policy's trunk; gradient and rate are the policy's. */
function trunkMetrics(result: StepResult | undefined, batch: PpoBatch): Numbers {
  if (result === undefined) return {};
  const { valueLoss, valueClipFraction } = result.sums;
  return { ...valueMetrics(batch), "critic/vf_loss": valueLoss, "critic/vf_clipfrac": valueClipFraction };
}

const valueMetrics = (batch: PpoBatch): Numbers => ({
  "critic/vf_explained_var": batch.explainedVariance,
  "critic/values/mean": batch.meanValue,
  "critic/returns/mean": batch.meanReturn,
});

function batchNumbers(
  trajectories: readonly (readonly Trajectory[])[],
  judged: {
    readonly groups: readonly (readonly JudgedSample[])[];
    readonly rewards: readonly ResolvedReward[];
  },
  learned: { readonly used: readonly Used[]; readonly batch: PpoBatch } | undefined,
): Numbers {
  const { groups, rewards } = judged;
  const at = new Map(learned?.used.map(({ trajectory }, i) => [trajectory, i]));
  const valuesOf = (list: readonly number[] | undefined): (number | undefined)[][] =>
    groups.map((group) => group.map(({ trajectory }) => list?.[at.get(trajectory) ?? -1]));
  return batchMetrics({
    trajectories,
    scores: groups.map((group) => group.map(({ reward }) => reward.total)),
    rewards: valuesOf(learned?.batch.rewards),
    advantages: valuesOf(learned?.batch.advantages),
    named: namedValues(groups, rewards),
  });
}
