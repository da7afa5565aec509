/** An actor with all that it runs on, opened from the plan: its generator and its view of the policy versions. */
import { openRunGenerator, openRunPolicies } from "@oarlock/workload";
import type { OpenedModel } from "@oarlock/workload";
import { startActor } from "./main.ts";
import type { ActorParts, RunningActor } from "./main.ts";

export type OpenActorParts = Omit<ActorParts, "generator" | "policies"> & { readonly model: OpenedModel };

/** Opens and starts it. */
export async function openActor(parts: OpenActorParts): Promise<RunningActor> {
  const { run, uid, bus, model, lifecycle, config } = parts;
  const policies = await openRunPolicies({ bus, run, uid, config: model.config, incarnation: 0 });
  const generator = await openRunGenerator(run, model.config);
  lifecycle.onEnd(`generator of ${config.instance}`, () => generator.close());
  return startActor({ ...parts, policies, generator });
}
