/** Which stage a run is in, and who has work in it, in the words of its status. Pure. */
import { generates, samples } from "@oarlock/run";
import type { RunSpec } from "@oarlock/runfile";
import { isReady, type Observed, podsOf } from "./observed.ts";

/** "stage judge (reward-model), 2 of 3". */
export function stageWords({ stages }: RunSpec, name: string): string {
  const at = stages.findIndex((stage) => stage.name === name);
  return `stage ${name} (${stages[at]?.type}), ${at + 1} of ${stages.length}`;
}

/** Who trains and who serves; in a stage without rollouts the other pods wait, and that is as it should be. */
export function trainingWords(observed: Observed): string {
  const { run, report } = observed;
  const actors = podsOf(observed, "actor").filter(isReady).length;
  const rewards = podsOf(observed, "reward").filter(isReady).length;
  const others = `${counted(actors, "actor")} and ${counted(rewards, "reward worker")}`;
  // One that does not answer at once is where it was.
  const last = run.spec.stages.find(({ name }) => name === run.status?.progress?.stage);
  const stage = report === undefined ? last : run.spec.stages[report.stage];
  if (stage === undefined) return `learner, ${others} serve`;
  const words = stageWords(run.spec, stage.name);
  if (!generates(stage.type, run.spec.evaluation))
    return `${words}: the learner trains alone, ${others} wait for rollouts`;
  const lacks = unserved({ actors, rewards });
  if (samples(stage.type)) return `${words}: learner, ${others} serve${lacks && `; no step ends ${lacks}`}`;
  return `${words}: the learner trains, ${others} serve its evaluations${lacks && `; no evaluation ends ${lacks}`}`;
}

/** "1 actor", "2 actors". */
export const counted = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;

/** What is waited for where a role has no pod that serves, as when it is scaled to zero. */
function unserved({ actors, rewards }: { readonly actors: number; readonly rewards: number }): string {
  if (actors === 0) return "without an actor";
  return rewards === 0 ? "without a reward worker" : "";
}
