/** The reward service's gRPC API: thin, typed by the contract. It knows nothing of how a score is made. */
import { OarlockError } from "@oarlock/errors";
import type { MessageInitShape, RewardService, ScorerPin, ScorerSchema } from "@oarlock/proto";
import type { ServiceImpl } from "@oarlock/rpc";
import { serviceStatus } from "@oarlock/run";
import type { CommonFacts } from "@oarlock/workload";
import type { ScorerInfo } from "@oarlock/sandbox";
import { rewardNumbers, rewardQueues } from "./metrics.ts";
import type { Reward } from "./reward.ts";
import { scorersFor, scorerSets } from "./scoring.ts";
import type { RunScorers } from "./scoring.ts";

/** Trajectories of one call; more are a batch job, which goes over the bus. */
const MAX_TRAJECTORIES = 4_096;

export interface HandlerParts {
  readonly reward: Reward;
  /** What the service knows of itself, besides its queues. */
  readonly facts: () => CommonFacts;
}

/** The handlers of `RewardService`. */
export function rewardHandlers({ reward, facts }: HandlerParts): ServiceImpl<typeof RewardService> {
  return {
    async score({ trajectories, scorers }, { signal }) {
      if (trajectories.length > MAX_TRAJECTORIES) {
        throw new OarlockError(
          "SCORE_REQUEST_INVALID",
          `Score: ${trajectories.length} trajectories; accepted: up to ${MAX_TRAJECTORIES}`,
        );
      }
      for (const trajectory of trajectories) {
        checkNames(scorers, scorersFor(reward.scorers, trajectory).scorers);
      }
      const results: { rewards: Awaited<ReturnType<Reward["score"]>>[number] }[] = [];
      // Each alone: trajectories of one call may belong to different stages, whose scorers differ.
      for (const trajectory of trajectories) {
        const [rewards = []] = await reward.score([trajectory], { pins: scorers, signal });
        const wanted = rewards.filter(
          ({ name }) => scorers.length === 0 || scorers.some((pin) => pin.name === name),
        );
        results.push({ rewards: wanted });
      }
      return { results };
    },

    async getStatus() {
      const state = reward.state();
      const service = serviceStatus({
        ...facts(),
        draining: state.phase !== "serving",
        queues: rewardQueues(state),
      });
      return { service, scorers: allScorers(reward.scorers), ...rewardNumbers(state) };
    },
  };
}

/** A name that nobody here has is a mistake of the call. A version that a scorer cannot give is a failure of its verdict (S1). */
function checkNames(pins: readonly ScorerPin[], scorers: readonly ScorerInfo[]): void {
  for (const pin of pins) {
    if (scorers.some(({ name }) => name === pin.name)) continue;
    const offered = scorers.map(({ name, version }) => `${name} ${version}`).join(", ");
    throw new OarlockError("SCORER_UNKNOWN", `Score: no scorer ${pin.name}; this worker has ${offered}`);
  }
}

/** Every scorer once, by name and version. */
function allScorers(runScorers: RunScorers): MessageInitShape<typeof ScorerSchema>[] {
  const byName = new Map(
    scorerSets(runScorers).flatMap((set) => set.scorers.map((s) => [`${s.name} ${s.version}`, { s, set }])),
  );
  return [...byName.values()].map(({ s, set }) => {
    const activity = set.activity().find(({ name }) => name === s.name);
    const { circuit = "", lastFailure = "", waiting = 0, cacheHits = 0 } = activity ?? {};
    return { ...s, circuit, lastFailure, waiting: BigInt(waiting), cacheHits: BigInt(cacheHits) };
  });
}
