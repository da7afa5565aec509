/** What an actor says of the tokens that it drew, by the reference or the critic: checked before it counts. Pure. */
import { OarlockError, shortDigest } from "@oarlock/errors";
import type { PolicyIdentity, Trajectory } from "@oarlock/proto";
import type { PolicyVersion } from "@oarlock/run";

/** Whose numbers are expected, and how they are called. */
export interface ExpectedSignal {
  readonly what: "reference log-probs" | "values";
  readonly by: PolicyVersion;
}

const fieldOf = ({ referenceLogprobs, values }: Trajectory, what: ExpectedSignal["what"]) =>
  what === "values" ? values : referenceLogprobs;

/**
 * Throws `SCORED_MALFORMED` unless there is a finite one for each token of the completion, by exactly the model that was asked
 * (W2).
 */
export function checkSignal(trajectory: Trajectory, { what, by }: ExpectedSignal): void {
  const { sample, promptLength, tokenIds } = trajectory;
  const refuse = (problem: string): never => {
    throw new OarlockError("SCORED_MALFORMED", `sample ${sample}: ${problem}`);
  };
  const { source, values = [], positions = [] } = fieldOf(trajectory, what) ?? {};
  if (source?.version !== by.number || source.digest !== by.digest) {
    const found = source === undefined ? "of no version" : `of ${named(source)}`;
    const wanted = named({ version: by.number, digest: by.digest });
    refuse(`${what} ${found}; its work asked for those of ${wanted}`);
  }
  const tokens = tokenIds.length - promptLength;
  if (values.length !== tokens || positions.length !== tokens) {
    refuse(`${values.length} ${what} at ${positions.length} positions; its completion needs ${tokens}`);
  }
  const astray = positions.findIndex((position, i) => position !== promptLength + i);
  if (astray >= 0) {
    const expected = promptLength + astray;
    refuse(`number ${astray} of its ${what} is at ${positions[astray]}; expected at ${expected}`);
  }
  const odd = values.findIndex((value) => !Number.isFinite(value));
  if (odd >= 0) {
    refuse(`its ${what} are ${values[odd]} at token ${promptLength + odd}; expected a finite number`);
  }
}

const named = ({ version, digest }: Pick<PolicyIdentity, "version" | "digest">): string =>
  `version ${version} (${shortDigest(digest)})`;

/** One for each token of a checked trajectory; 0 in the prompt. Throws `SCORED_MALFORMED` where they are missing after all. */
export function signalOf(trajectory: Trajectory, what: ExpectedSignal["what"]): Float32Array {
  const { tokenIds, promptLength, sample } = trajectory;
  const { values = [] } = fieldOf(trajectory, what) ?? {};
  if (values.length !== tokenIds.length - promptLength) {
    throw new OarlockError("SCORED_MALFORMED", `sample ${sample}: it came without its ${what}`);
  }
  const found = new Float32Array(tokenIds.length);
  found.set(values, promptLength);
  return found;
}
