/**
 * Several reward models as one scorer (Coste et al., arXiv:2310.02743): the mean of their scores, the least, or the mean less
 * λ times their variance. Where one has failed there is no score (S1).
 */
import { failed, scored } from "@oarlock/rewards";
import type { Verdict } from "@oarlock/rewards";
import type { BatchScorer } from "./model-scorer.ts";
import { ensembleVersion, memberVersions } from "./version.ts";

export interface EnsembleOptions {
  readonly name: string;
  readonly optional: boolean;
  readonly combine: "mean" | "min" | "mean-variance";
  /** λ of mean-variance. */
  readonly lambda: number;
  readonly members: readonly BatchScorer[];
}

/** One score of several scorers' scores of the same sample, combined as its options say. */
export function createEnsembleScorer(options: EnsembleOptions): BatchScorer {
  const { name, optional, members } = options;
  return {
    get info() {
      const version = ensembleVersion(members.map(({ info }) => info.version));
      return { name, version, deterministic: true, optional };
    },
    async score(inputs, signal, version = "") {
      const pins = version === "" ? [] : memberVersions(version);
      if (version !== "" && pins.length !== members.length) {
        const reason = `${version} names ${pins.length} models; accepted: one for each of ${members.length}`;
        return inputs.map(() => failed("SCORER_VERSION", reason));
      }
      const given = await Promise.all(members.map((member, m) => member.score(inputs, signal, pins[m])));
      return inputs.map((_, i) =>
        combined(
          given.map((verdicts) => verdicts[i]),
          options,
        ),
      );
    },
    async close() {
      await Promise.all(members.map((member) => member.close()));
    },
  };
}

function combined(
  verdicts: readonly (Verdict | undefined)[],
  { combine, lambda }: Pick<EnsembleOptions, "combine" | "lambda">,
): Verdict {
  const [values, versions]: [number[], string[]] = [[], []];
  for (const verdict of verdicts) {
    if (verdict === undefined) return failed("SCORER_UNKNOWN", "a member gave no verdict");
    if (verdict.type === "failed") return verdict;
    values.push(verdict.value);
    versions.push(verdict.version ?? "");
  }
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  const scores = { mean, min: Math.min(...values), "mean-variance": mean - lambda * variance };
  const said = `members: ${values.map((value) => value.toPrecision(4)).join(", ")}`;
  const verdict = scored(scores[combine], said);
  const version = ensembleVersion(versions);
  return verdict.type === "scored" && version !== "" ? { ...verdict, version } : verdict;
}
