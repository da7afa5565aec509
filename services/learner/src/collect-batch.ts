/** The batch of a step or of an evaluation as it is used: complete, and each scorer's scores of the versions that they must be of. */
import type { Trajectory } from "@oarlock/proto";
import type { BatchName } from "@oarlock/run";
import { rolloutsOf } from "@oarlock/runfile";
import type { ResolvedReward } from "@oarlock/runfile";
import { traced } from "@oarlock/runtime";
import type { LearnerParts } from "./context.ts";
import { settleVersions } from "./settle-versions.ts";
import type { Pins } from "./settle-versions.ts";
import { checkPins } from "./scorer-pins.ts";

/** Trajectories `[group][sample]`. Throws `STALLED`, and `SCORER_VERSION` where a score is not of the version that it had to be of. */
export async function collectBatch(
  { run, rollouts, versions, tracer, signal }: LearnerParts,
  name: BatchName,
): Promise<Trajectory[][]> {
  const pinsOf = (group: readonly Trajectory[]): Pins => {
    // In streaming mode a batch holds groups of several steps.
    const { stage, step } = group[0]?.group ?? name;
    return versions.pinsOf({ purpose: name.purpose, stage, step });
  };
  const groups = await traced(tracer, { name: "collect" }, async () =>
    settleVersions(await rollouts.collect(name, signal), {
      changeable: rewardsOfBatch(run, name).flatMap((reward) => ("service" in reward ? [reward.name] : [])),
      pinsOf,
      newest: rollouts.newestVersion,
      async judgeAgain(questions) {
        const judged = await rollouts.judgeAgain(questions, signal);
        for (const [i, { pins }] of questions.entries()) checkPins(judged[i] ?? [], pins);
        return judged;
      },
    }),
  );
  for (const group of groups) checkPins(group, pinsOf(group));
  return groups;
}

function rewardsOfBatch(
  { spec }: LearnerParts["run"],
  { purpose, stage }: BatchName,
): readonly ResolvedReward[] {
  const rewards =
    purpose === "evaluation" ? spec.evaluation?.rewards : rolloutsOf(spec.stages[stage])?.rewards;
  return rewards ?? [];
}
