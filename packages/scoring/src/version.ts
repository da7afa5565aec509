/** Versions of scorers, as verdicts carry them and work pins them. */
import { failed } from "@oarlock/rewards";
import type { Failed } from "@oarlock/rewards";
import type { ScorerInfo } from "@oarlock/sandbox";

const SEPARATOR = "+";

/** Of a reward model, by the SHA-256 (hex) of its weights. */
export function modelVersion(digest: string): string {
  return `sha256:${digest}`;
}

/** Of an ensemble: its members' versions, in their order; "" until all are known. */
export function ensembleVersion(versions: readonly string[]): string {
  return versions.includes("") ? "" : versions.join(SEPARATOR);
}

/** The versions of an ensemble's members. */
export function memberVersions(version: string): readonly string[] {
  return version.split(SEPARATOR);
}

/** Of a scorer that has one version, and another one is pinned. */
export function otherVersion({ name, version }: ScorerInfo, wanted: string): Failed {
  return failed("SCORER_VERSION", `${name} is ${version} here, and ${wanted} is pinned`);
}
