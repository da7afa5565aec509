/**
 * The actor's translation: a work item into a generation request, completions into trajectories. Pure; it knows the
 * contract and the generator's types, and neither bus nor clock.
 */
import { OarlockError } from "@oarlock/errors";
import type { Completion, GenerationRequest, SamplingParams } from "@oarlock/generation";
import {
  FinishReason,
  RolloutPurpose,
  TrajectoryBatchSchema,
  TrajectorySchema,
  TurnRole,
  batchBytes,
  create,
} from "@oarlock/proto";
import type {
  MessageInitShape,
  PolicyIdentity,
  SamplingParams as SamplingMessage,
  Trajectory,
  RolloutWork,
  TokenSignalSchema,
} from "@oarlock/proto";
import type { SampleKey } from "@oarlock/rl";
import { workPurpose } from "@oarlock/run";
import type { PolicyVersion, WorkPurpose } from "@oarlock/run";
import { bytesOf } from "@oarlock/runtime";
import type { Attributes } from "@oarlock/runtime";
import { generationAttributes, groupAttributes, policyAttributes } from "@oarlock/telemetry";
import type { Judged } from "./companion.ts";

/** A work item that can be generated: everything checked that a generator would trip over. */
export interface GenerationWork {
  readonly policy: PolicyVersion;
  /** Streaming: `policy` is the oldest that may begin, and the newest takes over at token boundaries. */
  readonly followNewest: boolean;
  readonly request: GenerationRequest;
  /** Whose log-probs of the completions go with them, and whose values. */
  readonly reference?: PolicyVersion;
  readonly critic?: PolicyVersion;
}

/** A completion, and what reference and critic gave each of its tokens where the work asked for that. */
export interface Answered {
  readonly completion: Completion;
  readonly referenceLogprobs?: Float32Array | undefined;
  readonly values?: Float32Array | undefined;
}

/** What every trajectory of an actor carries about where it came from. */
export interface Provenance {
  /** Instance, for display. */
  readonly producedBy: string;
  readonly fingerprintDigest: string;
  readonly tokenizerDigest: string;
  readonly templateDigest: string;
}

/** The generator's word for how a completion ended, in the contract's. */
export const FINISH_REASONS: { readonly [Reason in Completion["finishReason"]]: FinishReason } = {
  stop: FinishReason.STOP,
  length: FinishReason.LENGTH,
  abort: FinishReason.ABORT,
};

/** The sampling parameters of the contract in the generator's terms. */
export function samplingOf(message: SamplingMessage): SamplingParams {
  const { temperature, topK, topP, maxNewTokens, stopTokens } = message;
  return { temperature, topK, topP, maxNewTokens, stopTokens };
}

/**
 * Reads a work item. Throws `WORK_MALFORMED`, naming the field, where it cannot be generated from: such an item is
 * poison, no retry helps.
 */
export function generationWork(work: RolloutWork): GenerationWork {
  const { group, policy, sampling } = work;
  if (group === undefined) throw malformed("group", "missing");
  if (policy === undefined) throw malformed("policy", "missing; work names its version");
  if (sampling === undefined) throw malformed("sampling", "missing");
  if (work.promptTokens.length === 0) throw malformed("prompt_tokens", "empty; at least one token");
  if (work.sampleCount === 0) throw malformed("sample_count", "0; at least 1");
  const seed = Number(work.seed);
  if (!Number.isSafeInteger(seed)) throw malformed("seed", `${work.seed}; at most 2^53 − 1`);
  const purpose = purposeOf(work.purpose);
  const samples = Array.from({ length: work.sampleCount }, (_, i): SampleKey => {
    const { stage, step, group: index, draw } = group;
    return { seed, purpose, stage, step, group: index, draw, sample: work.firstSample + i };
  });
  return {
    policy: versionOf(policy),
    followNewest: work.followNewest,
    request: {
      id: `${purpose}/${group.stage}/${group.step}/${group.group}/${group.draw}/${work.firstSample}/${work.incarnation}`,
      prompt: Int32Array.from(work.promptTokens),
      samples,
      params: samplingOf(sampling),
      timed: true,
    },
    ...(work.reference === undefined ? {} : { reference: versionOf(work.reference) }),
    ...(work.critic === undefined ? {} : { critic: versionOf(work.critic) }),
  };
}

const versionOf = ({ version, digest }: PolicyIdentity): PolicyVersion => ({ number: version, digest });

/** What reference and critic are asked: the completions of an item after their prompt, as they were drawn. */
export function judgedItem(
  { request }: Pick<GenerationWork, "request">,
  completions: readonly Completion[],
): Judged {
  const { prompt, params, samples } = request;
  const completed = completions.map(({ tokens }) => {
    const whole = new Int32Array(prompt.length + tokens.length);
    whole.set(prompt);
    whole.set(tokens, prompt.length);
    return { tokens: whole, promptLength: prompt.length };
  });
  return { completed, stage: samples[0]?.stage ?? 0, temperature: params.temperature };
}

function purposeOf(purpose: RolloutPurpose): WorkPurpose {
  const known = workPurpose(purpose);
  if (known === undefined) throw malformed("purpose", `${purpose}; accepted: rollout, evaluation`);
  return known;
}

function malformed(field: string, problem: string): OarlockError {
  return new OarlockError("WORK_MALFORMED", `rollout work: ${field} is ${problem}`);
}

/** What spans say of a work item: whose group it is, and by which weights. */
export function workAttributes(work: RolloutWork, { policy, request }: GenerationWork): Attributes {
  const { group, prompt, firstSample, sampleCount } = work;
  const purpose = purposeOf(work.purpose);
  return {
    ...(group === undefined
      ? {}
      : groupAttributes({ ...group, step: displayedStep(group.step, purpose), purpose })),
    ...policyAttributes(policy),
    "rl.prompt.id": prompt?.promptId,
    "rl.prompt.tokens": request.prompt.length,
    "rl.sample.first": firstSample,
    "rl.sample.count": sampleCount,
  };
}

/** As people count: training steps from 1. */
function displayedStep(step: number, purpose: "rollout" | "evaluation"): number {
  return purpose === "rollout" ? step + 1 : step;
}

/** What the span of a generation says. */
export function completionAttributes(
  { request }: Pick<GenerationWork, "request">,
  completions: readonly Completion[],
  model: string,
): Attributes {
  const { params, prompt, samples } = request;
  return generationAttributes({
    ...params,
    model,
    promptTokens: prompt.length,
    outputTokens: completions.reduce((sum, { tokens }) => sum + tokens.length, 0),
    samples: samples.length,
    seed: samples[0]?.seed ?? 0,
    finishReasons: completions.map(({ finishReason }) => finishReason),
  });
}

/** The answer to a work item, encoded: its trajectories, in the order given. */
export function trajectoryBatch(
  work: RolloutWork,
  answered: readonly Answered[],
  provenance: Provenance,
): Uint8Array {
  const origin = {
    incarnation: work.incarnation,
    ...(work.group === undefined ? {} : { group: work.group }),
    ...(work.trace === undefined ? {} : { trace: work.trace }),
  };
  const head = create(TrajectoryBatchSchema, {
    ...origin,
    firstSample: work.firstSample,
    scorers: work.scorers,
    planDigest: work.fingerprintDigest,
  });
  const shared = create(TrajectorySchema, {
    ...origin,
    ...(work.prompt === undefined ? {} : { prompt: work.prompt }),
    ...(work.sampling === undefined ? {} : { sampling: work.sampling }),
    purpose: work.purpose,
    promptLength: work.promptTokens.length,
    seed: work.seed,
    replayable: !work.followNewest,
    ...provenance,
  });
  return batchBytes(
    head,
    shared,
    answered.map((one) => ownPart(work, one)),
  );
}

/** What a trajectory has for itself alone. */
function ownPart(work: RolloutWork, { completion, referenceLogprobs, values }: Answered): Trajectory {
  const promptLength = work.promptTokens.length;
  const length = promptLength + completion.tokens.length;
  return create(TrajectorySchema, {
    sample: completion.sample,
    turns: [
      { role: TurnRole.USER, start: 0, end: promptLength },
      { role: TurnRole.ASSISTANT, start: promptLength, end: length },
    ],
    tokenIds: [...work.promptTokens, ...completion.tokens],
    lossMask: new Uint8Array(length).fill(1, promptLength),
    behaviourLogprobs: bytesOf(completion.logprobs),
    segments: completion.segments.map(({ start, end, version }) => ({
      start: promptLength + start,
      end: promptLength + end,
      policy: { version: version.number, digest: version.digest },
    })),
    ...(referenceLogprobs === undefined
      ? {}
      : { referenceLogprobs: signal(work.reference, promptLength, referenceLogprobs) }),
    ...(values === undefined ? {} : { values: signal(work.critic, promptLength, values) }),
    finishReason: FINISH_REASONS[completion.finishReason],
  });
}

/** Numbers of the completion's tokens. */
function signal(
  source: PolicyIdentity | undefined,
  promptLength: number,
  numbers: Float32Array,
): MessageInitShape<typeof TokenSignalSchema> {
  return {
    ...(source === undefined ? {} : { source }),
    values: [...numbers],
    positions: Array.from(numbers, (_, token) => promptLength + token),
  };
}
