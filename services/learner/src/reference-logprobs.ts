/** Log-probs of the reference policy that came with a trajectory: an actor's, checked before they count. Pure. */
import { OarlockError, shortDigest } from "@oarlock/errors";
import type { PolicyIdentity, Trajectory } from "@oarlock/proto";
import type { PolicyVersion } from "@oarlock/run";

/**
 * Throws `SCORED_MALFORMED` unless there is a finite one for each token of the completion, by exactly the reference that was
 * asked (W2).
 */
export function checkReference(trajectory: Trajectory, expected: PolicyVersion): void {
  const { referenceLogprobs, sample, promptLength, tokenIds } = trajectory;
  const refuse = (problem: string): never => {
    throw new OarlockError("SCORED_MALFORMED", `sample ${sample}: ${problem}`);
  };
  const { source, values = [], positions = [] } = referenceLogprobs ?? {};
  if (source?.version !== expected.number || source.digest !== expected.digest) {
    const found = source === undefined ? "of no policy" : `of ${named(source)}`;
    const wanted = named({ version: expected.number, digest: expected.digest });
    refuse(`reference log-probs ${found}; its work asked for those of ${wanted}`);
  }
  const tokens = tokenIds.length - promptLength;
  if (values.length !== tokens || positions.length !== tokens) {
    refuse(
      `${values.length} reference log-probs at ${positions.length} positions; its completion needs ${tokens}`,
    );
  }
  const astray = positions.findIndex((position, i) => position !== promptLength + i);
  if (astray >= 0) {
    refuse(`reference log-prob ${astray} is at ${positions[astray]}; expected at ${promptLength + astray}`);
  }
  const odd = values.findIndex((value) => !Number.isFinite(value));
  if (odd >= 0) {
    refuse(
      `the reference log-prob of token ${promptLength + odd} is ${values[odd]}; expected a finite number`,
    );
  }
}

const named = ({ version, digest }: Pick<PolicyIdentity, "version" | "digest">): string =>
  `policy version ${version} (${shortDigest(digest)})`;

/** One for each token of the trajectory; 0 in the prompt. */
export function referenceLogprobsOf({ tokenIds, promptLength, referenceLogprobs }: Trajectory): Float32Array {
  const found = new Float32Array(tokenIds.length);
  found.set(referenceLogprobs?.values ?? [], promptLength);
  return found;
}
