/**
 * A scorer of which any version will do may be given another one by whoever runs it, in the middle of a group. The samples of a
 * group are compared with each other: they are judged by one version, or not at all (S1).
 */
import { failed } from "@oarlock/rewards";
import type { Verdict } from "@oarlock/rewards";

/** A group that is asked about while a change is under way gets one version the next time, unless versions go on changing. */
const ATTEMPTS = 3;

/** Asks until the scores of the group are of one version; after a few attempts all of its samples have failed. */
export async function ofOneVersion(name: string, ask: () => Promise<Verdict[]>): Promise<Verdict[]> {
  let [verdicts, versions]: [Verdict[], ReadonlySet<string>] = [[], new Set()];
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    verdicts = await ask();
    versions = versionsOf(verdicts);
    if (versions.size <= 1) return verdicts;
  }
  const verdict = failed(
    "SCORER_VERSION",
    `${name} judged one group by versions ${[...versions].toSorted().join(" and ")}; pin one with service.version, and change it with replace-scorer`,
  );
  return verdicts.map(() => verdict);
}

const versionsOf = (verdicts: readonly Verdict[]): ReadonlySet<string> =>
  new Set(verdicts.flatMap((verdict) => (verdict.type === "scored" ? [verdict.version ?? ""] : [])));
