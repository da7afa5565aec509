/** An actor with all that it runs on, opened from the plan: its generator, its view of the policy versions, its reference. */
import { rolloutsOf } from "@oarlock/runfile";
import { silentTelemetry } from "@oarlock/runtime";
import { openRunGenerator, openRunPolicies, openRunReference } from "@oarlock/workload";
import type { OpenedModel } from "@oarlock/workload";
import { startActor } from "./main.ts";
import type { ActorParts, RunningActor } from "./main.ts";
import { createReferencePolicy } from "./reference.ts";

export type OpenActorParts = Omit<ActorParts, "generator" | "policies" | "reference"> & {
  readonly model: OpenedModel;
};

/** Opens and starts it. */
export async function openActor(parts: OpenActorParts): Promise<RunningActor> {
  const { run, uid, bus, model, lifecycle, config, telemetry = silentTelemetry } = parts;
  const policies = await openRunPolicies({ bus, run, uid, config: model.config, incarnation: 0 });
  const generator = await openRunGenerator(run, model.config);
  lifecycle.onEnd(`generator of ${config.instance}`, () => generator.close());
  const reference = createReferencePolicy({
    source: policies,
    open: (weights) => openRunReference(run, model.config, weights),
    microBatchSizeOf: (stage) => rolloutsOf(run.spec.stages[stage])?.microBatchSize ?? 1,
    tracer: telemetry.tracer,
  });
  lifecycle.onEnd(`reference policy of ${config.instance}`, () => reference.close());
  return startActor({ ...parts, policies, generator, reference });
}
