/** Traps in scorers of other processes, of stages and of the evaluation alike. */
import type { Path } from "../problem.ts";
import type { ResolvedReward } from "../resolved.ts";
import { rolloutsOf } from "../stage-parts.ts";
import { type Trap, type TrapCheck, trapWhen } from "./trap.ts";

/** Certificates for a connection that is plain text would protect nothing. */
function plainText(reward: ResolvedReward, path: Path): Trap[] {
  if (!("service" in reward) || reward.service.tls === undefined) return [];
  if (reward.type === "grpc") {
    return trapWhen(!reward.grpc.tls, () => ({
      code: "SCORER_TLS_UNUSED",
      path: [...path, "grpc", "tls"],
      message: `reward '${reward.name}' has service.tls, and its connection is plain text`,
      value: "false",
      accepted: "tls: true, or no service.tls",
    }));
  }
  const { url } = reward.type === "http" ? reward.http : reward.judge;
  return trapWhen(!url.startsWith("https:"), () => ({
    code: "SCORER_TLS_UNUSED",
    path: [...path, reward.type, "url"],
    message: `reward '${reward.name}' has service.tls, and its connection is plain text`,
    value: JSON.stringify(url),
    accepted: "an https:// URL, or no service.tls",
  }));
}

const checkAll = (rewards: readonly ResolvedReward[], path: Path): Trap[] =>
  rewards.flatMap((reward, index) => plainText(reward, [...path, "rewards", index]));

/** Checks of every list of rewards. */
export const scorerTraps: TrapCheck = ({ spec: { stages, evaluation } }) => [
  ...stages.flatMap((stage, index) =>
    checkAll(rolloutsOf(stage)?.rewards ?? [], ["spec", "stages", index, stage.type]),
  ),
  ...(evaluation === undefined ? [] : checkAll(evaluation.rewards, ["spec", "evaluation"])),
];
