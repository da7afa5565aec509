/**
 * A model that an actor holds beside the policy: a stage's reference, or the critic that goes with a version of the policy. Its
 * weights are verified (W2), and what it gives to completions is a function of them and of the item (D1). Opened by the first work
 * that asks for it. Knows nothing of the bus.
 */
import { isSamePolicy } from "@oarlock/run";
import type { PolicyVersion } from "@oarlock/run";
import { Semaphore, traced } from "@oarlock/runtime";
import type { Tracer } from "@oarlock/runtime";
import { policyAttributes } from "@oarlock/telemetry";
import type { CompletedPrompt, CompletionModel } from "@oarlock/training";
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

export interface Companion {
  /** Holds that version; rejects where it cannot be had. */
  ensure(policy: PolicyVersion, signal: AbortSignal): Promise<void>;
  /** A number for every token of each completion. */
  perToken(policy: PolicyVersion, judged: Judged, signal: AbortSignal): Promise<Float32Array[]>;
  close(): Promise<void>;
}

export interface CompanionOptions {
  /** What it is, and what it gives: names of spans. */
  readonly name: "reference" | "critic";
  readonly gives: "reference logprobs" | "values";
  readonly source: Pick<PolicySource, "fetch">;
  readonly open: (weights: Float32Array) => Promise<CompletionModel>;
  /** Completions per pass, of a stage. */
  readonly microBatchSizeOf: (stage: number) => number;
  /** Versions held: as many as work in flight names. */
  readonly capacity: number;
  readonly tracer: Tracer;
}

interface Held {
  readonly policy: PolicyVersion;
  readonly model: CompletionModel;
}

/** A companion that holds nothing yet. */
export function createCompanion(options: CompanionOptions): Companion {
  const { name, gives, source, open, microBatchSizeOf, capacity, tracer } = options;
  const turns = new Semaphore(`the ${name}`, 1);
  const wait = { timeoutMs: TURN_TIMEOUT_MS } as const;
  /** Newest use last. */
  let held: readonly Held[] = [];

  /** A model of those weights: the one that was used longest ago where no more may be open. */
  const opened = async (weights: Float32Array): Promise<CompletionModel> => {
    const [oldest] = held;
    if (oldest === undefined || held.length < capacity) return open(weights);
    held = held.slice(1);
    try {
      await oldest.model.load(weights);
    } catch (reason) {
      await oldest.model.close();
      throw reason;
    }
    return oldest.model;
  };
  /** Where it is held; used now. */
  const known = (policy: PolicyVersion): CompletionModel | undefined => {
    const found = held.find((one) => isSamePolicy(one.policy, policy));
    if (found !== undefined) held = [...held.filter((one) => one !== found), found];
    return found?.model;
  };
  const modelOf = async (policy: PolicyVersion, signal: AbortSignal): Promise<CompletionModel> => {
    const found = known(policy);
    if (found !== undefined) return found;
    const attributes = policyAttributes(policy);
    const model = await traced(tracer, { name: `load ${name}`, attributes }, async (span) =>
      opened(await fetchWithin(source, policy, span, signal)),
    );
    held = [...held, { policy, model }];
    return model;
  };

  return {
    async ensure(policy, signal) {
      // Not behind the passes of other items.
      if (known(policy) !== undefined) return;
      await turns.run({ ...wait, signal }, () => modelOf(policy, signal));
    },
    perToken: (policy, { completed, stage, temperature }, signal) =>
      turns.run({ ...wait, signal }, async () => {
        const model = await modelOf(policy, signal);
        const call = { temperature, microBatchSize: microBatchSizeOf(stage), timeoutMs: PASS_TIMEOUT_MS };
        const attributes = { ...policyAttributes(policy), "rl.sample.count": completed.length };
        return traced(tracer, { name: gives, attributes }, () =>
          model.perToken(completed, { ...call, signal }),
        );
      }),
    close: () =>
      turns.run(wait, async () => {
        await Promise.all(held.map(({ model }) => model.close()));
        held = [];
      }),
  };
}
