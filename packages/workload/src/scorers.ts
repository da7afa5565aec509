/** The scorers of a run: one pool per distinct list of rewards, so that an evaluation by the stage's own rewards shares it. */
import type { ResolvedReward, ResolvedRun } from "@oarlock/runfile";
import { canonicalJson } from "@oarlock/runfile";
import { openScorers } from "@oarlock/sandbox";
import type { ScorerPool } from "@oarlock/sandbox";

export interface OpenedScorers extends AsyncDisposable {
  readonly scorers: {
    /** By stage index; a stage without rollouts has none. */
    readonly stages: ReadonlyMap<number, ScorerPool>;
    readonly evaluation: ScorerPool | undefined;
  };
}

/** Opens the scorers of every stage and of the evaluation. */
export async function openRunScorers(run: ResolvedRun, baseDir: string): Promise<OpenedScorers> {
  const pools = new Map<string, ScorerPool>();
  const open = async (rewards: readonly ResolvedReward[]): Promise<ScorerPool> => {
    const key = canonicalJson(rewards);
    const known = pools.get(key);
    if (known !== undefined) return known;
    const pool = await openScorers(rewards, { baseDir, workers: run.spec.compute.rewardWorkers });
    pools.set(key, pool);
    return pool;
  };
  const stages = new Map<number, ScorerPool>();
  for (const [index, stage] of run.spec.stages.entries()) {
    if (stage.type === "grpo") stages.set(index, await open(stage.grpo.rewards));
  }
  const { evaluation } = run.spec;
  const evaluated = evaluation === undefined ? undefined : await open(evaluation.rewards);
  return {
    scorers: { stages, evaluation: evaluated },
    async [Symbol.asyncDispose]() {
      await Promise.all([...pools.values()].map((pool) => pool.close()));
    },
  };
}
