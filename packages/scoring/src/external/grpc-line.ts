/**
 * Any server of `oarlock.v1.RewardService` as a scorer. It gets the trajectory's tokens and, since it may hold no tokenizer,
 * its text; of its answer everything is checked (S1).
 */
import { FinishReason, RewardScope, RewardService } from "@oarlock/proto";
import type { MessageInitShape, NamedReward, Scored, ScoreRequestSchema } from "@oarlock/proto";
import { failed, scored, scoredTokens } from "@oarlock/rewards";
import type { TokenRange, Verdict } from "@oarlock/rewards";
import { openChannel } from "@oarlock/rpc";
import type { TlsOptions } from "@oarlock/rpc";
import { rangeOf } from "../scorer-set.ts";
import type { TrajectoryInput } from "../scorer-set.ts";
import { answerInvalid } from "./scorer-line.ts";
import type { LineCredentials, ScorerLine } from "./scorer-line.ts";

export interface GrpcLineOptions {
  readonly address: string;
  /** Name of the server's scorer. */
  readonly scorer: string;
  /** Undefined: plain text. */
  readonly tls: TlsOptions | undefined;
  readonly token: LineCredentials["token"];
  /** Default: a score is of the whole completion. */
  readonly scope?: "token" | undefined;
  /** Deadline that the server sees. */
  readonly timeoutMs: number;
}

/** Calls `Score` of a server of `oarlock.v1.RewardService`; the channel is opened at once and connects when it is used. */
export function createGrpcLine(options: GrpcLineOptions): ScorerLine {
  const { address, scorer, scope, tls, token, timeoutMs } = options;
  const channel = openChannel(address, { token, ...(tls === undefined ? {} : { tls }) });
  const client = channel.client(RewardService);
  return {
    address,
    async call(inputs, signal, version) {
      const request = {
        trajectories: inputs.map(trajectoryOf),
        texts: inputs.map(({ prompt, completion }) => ({ prompt, completion })),
        scorers: [{ name: scorer, version }],
      };
      const { results } = await client.score(request, { timeoutMs, signal });
      if (results.length !== inputs.length) {
        throw answerInvalid(address, `${results.length} results for ${inputs.length} samples`);
      }
      return results.map(({ rewards }, i) => {
        const input = inputs[i];
        const tokens = scope === "token" && input !== undefined ? rangeOf(input) : undefined;
        return readReward(
          rewards.filter(({ name }) => name === scorer),
          tokens,
        );
      });
    },
    close: () => channel.close(),
  };
}

type TrajectoryInit = NonNullable<MessageInitShape<typeof ScoreRequestSchema>["trajectories"]>[number];

/** The record itself, or as much of one as text and tokens make. */
function trajectoryOf({
  trajectory,
  tokens,
  completionTokens,
  truncated,
  fields,
}: TrajectoryInput): TrajectoryInit {
  if (trajectory !== undefined) return trajectory;
  return {
    tokenIds: [...tokens],
    promptLength: tokens.length - completionTokens,
    finishReason: truncated ? FinishReason.LENGTH : FinishReason.STOP,
    prompt: { fieldsJson: JSON.stringify(fields) },
  };
}

/** The verdict of the asked scorer: exactly one, a finite score (or scores of these tokens), or a failure with its reason. */
export function readReward(rewards: readonly NamedReward[], tokens?: TokenRange): Verdict {
  const [reward] = rewards;
  if (reward === undefined || rewards.length > 1) {
    return failed("SCORER_ANSWER_INVALID", `${rewards.length} verdicts of the scorer on one sample`);
  }
  const { verdict, scorerVersion } = reward;
  if (verdict.case === "failed") {
    const { code, reason, retryable } = verdict.value;
    return failed(code === "" ? "SCORER_FAILED" : code, reason, retryable);
  }
  if (verdict.case !== "scored") return failed("SCORER_ANSWER_INVALID", "neither scored nor failed");
  const given = tokens === undefined ? readScore(verdict.value) : readTokens(verdict.value, tokens);
  return given.type === "scored" && scorerVersion !== "" ? { ...given, version: scorerVersion } : given;
}

function readScore({ scope, values, positions, explanation }: Scored): Verdict {
  const [value] = values;
  if (scope !== RewardScope.TRAJECTORY || value === undefined || values.length > 1 || positions.length > 0) {
    return failed("SCORER_ANSWER_INVALID", "a score has scope TRAJECTORY, one value and no positions");
  }
  return scored(value, explanation === "" ? undefined : explanation);
}

/** TOKEN: one value for each token of the completion; STEP: one for each step, at the index of its last token. */
function readTokens({ scope, values, positions, explanation }: Scored, range: TokenRange): Verdict {
  const said = explanation === "" ? undefined : explanation;
  if (scope === RewardScope.STEP) return scoredTokens({ positions, values }, range, said);
  const all = Array.from({ length: range.completionTokens }, (_, token) => range.promptLength + token);
  if (scope === RewardScope.TOKEN && (positions.length === 0 || positions.length === all.length))
    return scoredTokens({ positions: positions.length === 0 ? all : positions, values }, range, said);
  return failed(
    "SCORER_ANSWER_INVALID",
    `scores of tokens have scope STEP, or TOKEN and as many positions as tokens (${all.length}) or none`,
  );
}
