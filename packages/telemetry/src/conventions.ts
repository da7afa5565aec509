/**
 * Names of spans and attributes: OpenTelemetry's semantic conventions where they have a word (`messaging.*`, `gen_ai.*`),
 * `rl.*` for what only reinforcement learning has. Pure.
 */
import type { Attributes } from "@oarlock/runtime";

/** A group of samples, as its records name it. */
export interface GroupFacts {
  readonly runUid: string;
  readonly stage: number;
  /** As people count: from 1 in a stage; an evaluation has the steps before it. */
  readonly step: number;
  readonly group: number;
  readonly draw: number;
  readonly purpose: "rollout" | "evaluation";
}

/** Who a group is. */
export function groupAttributes({ runUid, stage, step, group, draw, purpose }: GroupFacts): Attributes {
  return {
    "rl.run.uid": runUid,
    "rl.stage": stage,
    "rl.train.step": step,
    "rl.group.id": group,
    "rl.group.draw": draw,
    "rl.purpose": purpose,
  };
}

/** Which weights. */
export function policyAttributes(policy: { readonly number: number; readonly digest: string }): Attributes {
  return { "rl.policy.version": policy.number, "rl.policy.digest": policy.digest };
}

/** Where messages go to. */
export interface Destination {
  /** The bus's driver. */
  readonly driver: "memory" | "jetstream";
  readonly runUid: string;
  readonly subject: string;
  readonly stream: string;
  /** The durable consumer, of those who receive. */
  readonly consumer?: string;
}

/** The subject without the run: few names, whatever runs there are. */
export function destinationTemplate({ subject, runUid }: Destination): string {
  return subject.replace(runUid, "{run}");
}

/** Attributes of whoever sends to or receives from `destination`. */
export function destinationAttributes(destination: Destination): Attributes {
  const { driver, subject, stream, consumer } = destination;
  return {
    "messaging.system": driver === "jetstream" ? "nats" : "oarlock_memory",
    "messaging.destination.name": subject,
    "messaging.destination.template": destinationTemplate(destination),
    "messaging.nats.stream": stream,
    "messaging.consumer.group.name": consumer,
  };
}

/** A request to the model, before and after. */
export interface GenerationFacts {
  /** Name of what is trained. */
  readonly model: string;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly samples: number;
  readonly seed: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly maxNewTokens: number;
  readonly finishReasons: readonly string[];
}

/** Attributes of a generation. The text itself is left out: it may be anything. */
export function generationAttributes(facts: GenerationFacts): Attributes {
  return {
    "gen_ai.operation.name": "text_completion",
    "gen_ai.provider.name": "oarlock",
    "gen_ai.request.model": facts.model,
    "gen_ai.request.choice.count": facts.samples,
    "gen_ai.request.seed": facts.seed,
    "gen_ai.request.temperature": facts.temperature,
    "gen_ai.request.top_k": facts.topK,
    "gen_ai.request.top_p": facts.topP,
    "gen_ai.request.max_tokens": facts.maxNewTokens,
    "gen_ai.usage.input_tokens": facts.promptTokens,
    "gen_ai.usage.output_tokens": facts.outputTokens,
    "gen_ai.response.finish_reasons": facts.finishReasons,
  };
}
