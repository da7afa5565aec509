/** An actor with all that it runs on, opened from the plan: its generator, its view of the policy versions, its reference. */
import { withScoreHead } from "@oarlock/nn";
import { laggingVersions, rolloutsOf } from "@oarlock/runfile";
import { silentTelemetry } from "@oarlock/runtime";
import {
  hasCriticsInActors,
  openRunCompanion,
  openRunCritics,
  openRunGenerator,
  openRunPolicies,
} from "@oarlock/workload";
import type { OpenedModel } from "@oarlock/workload";
import { createCompanion } from "./companion.ts";
import { startActor } from "./main.ts";
import type { ActorParts, RunningActor } from "./main.ts";

export type OpenActorParts = Omit<
  ActorParts,
  "generator" | "policies" | "reference" | "critic" | "critics"
> & {
  readonly model: OpenedModel;
};

/** Opens and starts it. */
export async function openActor(parts: OpenActorParts): Promise<RunningActor> {
  const { run, uid, bus, model, lifecycle, config, telemetry = silentTelemetry } = parts;
  const policies = await openRunPolicies({ bus, run, uid, config: model.config, incarnation: 0 });
  const generator = await openRunGenerator(run, model.config);
  lifecycle.onEnd(`generator of ${config.instance}`, () => generator.close());
  const known = {
    microBatchSizeOf: (stage: number) => rolloutsOf(run.spec.stages[stage])?.microBatchSize ?? 1,
    tracer: telemetry.tracer,
  };
  const reference = createCompanion({
    ...known,
    name: "reference",
    gives: "reference logprobs",
    source: policies,
    open: (weights) => openRunCompanion(run, model.config, weights),
    capacity: 1,
  });
  // Where the plan has no critic for actors, no work names one, and nothing is looked up.
  const critics = hasCriticsInActors(run)
    ? await openRunCritics({ bus, run, uid, config: model.config, incarnation: 0 })
    : policies;
  const critic = createCompanion({
    ...known,
    name: "critic",
    gives: "values",
    source: critics,
    open: (weights) => openRunCompanion(run, withScoreHead(model.config), weights),
    capacity: laggingVersions(run.spec.pipeline) + 1,
  });
  lifecycle.onEnd(`reference of ${config.instance}`, () => reference.close());
  lifecycle.onEnd(`critic of ${config.instance}`, () => critic.close());
  return startActor({ ...parts, policies, generator, reference, critic, critics });
}
