/** Completions as people read them: the lines of `samples.jsonl`. Text is for display only; training used the tokens. */
import { FinishReason } from "@oarlock/proto";
import type { Trajectory } from "@oarlock/proto";
import type { SampleRecord } from "@oarlock/report";
import { isSampled, traceOfHeaders } from "@oarlock/runtime";
import { stageAt } from "./context.ts";
import type { LearnerParts } from "./context.ts";
import type { GrpoBatch } from "./grpo-batch.ts";
import { dataOrder } from "./order.ts";
import type { PromptRow } from "./ports.ts";
import type { SampleReward } from "./sample-reward.ts";
import { failureOf } from "./unscored.ts";

const FINISHED: { readonly [Reason in FinishReason]: string } = {
  [FinishReason.UNSPECIFIED]: "unspecified",
  [FinishReason.STOP]: "stop",
  [FinishReason.LENGTH]: "length",
  [FinishReason.INTERRUPT]: "interrupt",
  [FinishReason.ABORT]: "abort",
};

/** What every line of one batch shares. */
export type SampleHead = Pick<SampleRecord, "kind" | "stage" | "step"> &
  Partial<Pick<SampleRecord, "when" | "group">>;

/** One completion as a line. */
export function sampleRecord(
  parts: Pick<LearnerParts, "data">,
  head: SampleHead,
  sample: {
    readonly trajectory: Trajectory;
    readonly reward: SampleReward;
    readonly prompt: PromptRow;
    readonly promptIndex: number;
    readonly greedy?: boolean;
  },
): SampleRecord {
  const { trajectory, reward, prompt, promptIndex, greedy } = sample;
  const { tokenIds, promptLength, finishReason } = trajectory;
  const end = finishReason === FinishReason.STOP ? tokenIds.length - 1 : tokenIds.length;
  const failure = failureOf(reward);
  const trace = traceOfHeaders(trajectory.trace);
  return {
    ...head,
    policyVersion: trajectory.segments[0]?.policy?.version ?? 0,
    promptIndex,
    sample: trajectory.sample,
    prompt: prompt.text,
    completion: parts.data.decode(tokenIds.slice(promptLength, end)),
    ...(prompt.answer === undefined ? {} : { answer: prompt.answer }),
    rewards: reward.named,
    versions: versionsOf(trajectory),
    total: reward.total ?? null,
    ...(failure === undefined ? {} : { failure }),
    finishReason: FINISHED[finishReason],
    ...(greedy === undefined ? {} : { greedy }),
    ...(isSampled(trace) ? { traceId: trace.traceId } : {}),
  };
}

/** A failure has no version (S1). */
function versionsOf({ rewards }: Trajectory): Record<string, string> {
  const scored = rewards.filter(
    ({ verdict, scorerVersion }) => verdict.case === "scored" && scorerVersion !== "",
  );
  return Object.fromEntries(scored.map(({ name, scorerVersion }) => [name, scorerVersion]));
}

/** The first samples of a rollout batch, one per group in turn, as many as the plan writes per step. */
export function rolloutSamples(
  parts: LearnerParts,
  batch: Pick<GrpoBatch, "groups">,
  at: { readonly stage: number; readonly step: number },
): SampleRecord[] {
  const { run, data } = parts;
  const prompts = data.prompts(at.stage);
  const options = {
    seed: run.spec.seed,
    stage: at.stage,
    count: prompts.length,
    perStep: batch.groups.length,
  };
  const order = dataOrder(options);
  // By the group's own place in the data: in streaming mode it need not be that of the step.
  const rows = batch.groups.map(([first]) => {
    const { step = at.step, group = 0 } = first?.trajectory.group ?? {};
    return order.rowsOf(step)[group] ?? 0;
  });
  const head: SampleHead = { kind: "rollout", stage: stageAt(run, at.stage).name, step: at.step + 1 };
  const wanted = run.spec.output.samplesPerStep;
  const depth = Math.max(0, ...batch.groups.map((group) => group.length));
  const lines: SampleRecord[] = [];
  for (let s = 0; s < depth; s++) {
    for (const [g, group] of batch.groups.entries()) {
      const sample = group[s];
      const promptIndex = rows[g] ?? 0;
      const prompt = prompts[promptIndex];
      if (lines.length >= wanted || sample === undefined || prompt === undefined) continue;
      const { step = at.step, group: index = g } = sample.trajectory.group ?? {};
      lines.push(sampleRecord(parts, { ...head, group: [step, index] }, { ...sample, prompt, promptIndex }));
    }
  }
  return lines;
}
