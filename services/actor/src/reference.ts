/**
 * The reference policy of a stage in an actor: verified weights (W2), one version at a time, and their log-probs of what was
 * generated. Opened by the first work that asks for it. Knows nothing of the bus.
 */
import { isSamePolicy } from "@oarlock/run";
import type { PolicyVersion } from "@oarlock/run";
import { Semaphore, traced } from "@oarlock/runtime";
import type { Tracer } from "@oarlock/runtime";
import { policyAttributes } from "@oarlock/telemetry";
import type { CompletedPrompt, LogprobModel } from "@oarlock/training";
import { fetchWithin } from "./policies.ts";
import type { PolicySource } from "./policies.ts";

/** One item, once it has its turn. Passing it hands the item back; it never decides what is trained (D1c). */
const PASS_TIMEOUT_MS = 600_000;
/** Items in hand are few, and each takes its turn. */
const TURN_TIMEOUT_MS = 1_200_000;

/** Completions of one item, and how they were drawn. */
export interface Judged {
  readonly completed: readonly CompletedPrompt[];
  readonly stage: number;
  readonly temperature: number;
}

export interface ReferencePolicy {
  /** Holds that version, and no other; rejects where it cannot be had. */
  ensure(policy: PolicyVersion, signal: AbortSignal): Promise<void>;
  /** The log-prob of every token of each completion, nats. */
  logprobs(policy: PolicyVersion, judged: Judged, signal: AbortSignal): Promise<Float32Array[]>;
  close(): Promise<void>;
}

export interface ReferencePolicyOptions {
  readonly source: Pick<PolicySource, "fetch">;
  readonly open: (weights: Float32Array) => Promise<LogprobModel>;
  /** Completions per pass, of a stage. */
  readonly microBatchSizeOf: (stage: number) => number;
  readonly tracer: Tracer;
}

/** A reference that is not open yet. */
export function createReferencePolicy(options: ReferencePolicyOptions): ReferencePolicy {
  const { source, open, microBatchSizeOf, tracer } = options;
  const turns = new Semaphore("the reference policy", 1);
  const wait = { timeoutMs: TURN_TIMEOUT_MS } as const;
  let held: { readonly policy: PolicyVersion; readonly model: LogprobModel } | undefined;

  const modelOf = async (policy: PolicyVersion, signal: AbortSignal): Promise<LogprobModel> => {
    if (held !== undefined && isSamePolicy(held.policy, policy)) return held.model;
    const attributes = policyAttributes(policy);
    const model = await traced(tracer, { name: "load reference", attributes }, async (span) => {
      const weights = await fetchWithin(source, policy, span, signal);
      await held?.model.close();
      held = undefined;
      return open(weights);
    });
    held = { policy, model };
    return model;
  };

  return {
    async ensure(policy, signal) {
      await turns.run({ ...wait, signal }, () => modelOf(policy, signal));
    },
    logprobs: (policy, { completed, stage, temperature }, signal) =>
      turns.run({ ...wait, signal }, async () => {
        const model = await modelOf(policy, signal);
        const call = { temperature, microBatchSize: microBatchSizeOf(stage), timeoutMs: PASS_TIMEOUT_MS };
        const attributes = { ...policyAttributes(policy), "rl.sample.count": completed.length };
        return traced(tracer, { name: "reference logprobs", attributes }, () =>
          model.logprobs(completed, { ...call, signal }),
        );
      }),
    close: () =>
      turns.run(wait, async () => {
        await held?.model.close();
        held = undefined;
      }),
  };
}
