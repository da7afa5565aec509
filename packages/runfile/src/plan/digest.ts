/** Canonical JSON and its SHA-256: two plans with one digest give one policy (D1). */
import { createHash } from "node:crypto";
import { OarlockError, shortDigest } from "@oarlock/errors";
import type { ResolvedRun, ResolvedSpec, RunInputs } from "../resolved.ts";

/** JSON with sorted keys and no white space; refuses nothing that JSON can say. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value)
    .filter(([, entry]) => entry !== undefined)
    .toSorted(([left], [right]) => (left < right ? -1 : 1));
  return `{${entries.map(([key, entry]) => `${JSON.stringify(key)}:${canonicalJson(entry)}`).join(",")}}`;
}

/** SHA-256 (hex) of the canonical JSON of `value`. */
export function digestOf(value: unknown): string {
  return createHash("sha256").update(canonicalJson(value)).digest("hex");
}

/**
 * Digest of a run: of everything that changes bits. Left out is what D1 says never does: the number of actors,
 * sampling sessions and reward workers, what is written beside the policy, how often it is saved, and which traps were allowed.
 */
export function runDigest(spec: ResolvedSpec, inputs: RunInputs): string {
  const { output: _output, checkpoints: _checkpoints, allow: _allow, ...bits } = spec;
  const { actors: _actors, generationWorkers: _samplers, rewardWorkers: _scorers, ...compute } = bits.compute;
  return digestOf({ spec: { ...bits, compute }, inputs });
}

/** Throws `PLAN_CHANGED` where the plan in `file` is not the one that its digest names: it would give other weights under it. */
export function requireUnchanged({ spec, inputs, digest }: ResolvedRun, file: string): void {
  // What was read may lack anything.
  const isWhole = typeof spec.compute === "object" && typeof digest === "string";
  if (isWhole && runDigest(spec, inputs) === digest) return;
  throw new OarlockError(
    "PLAN_CHANGED",
    `${file} was changed since it was planned (${shortDigest(String(digest))}); accepted: the file as it was, or a change of the run ` +
      "file and `oarlock run` of it with another --out",
  );
}
