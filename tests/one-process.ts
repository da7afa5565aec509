/** The built command line training in one process, and the digest of what a run wrote: a cluster's run must equal it (D1). */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { repositoryRoot } from "@oarlock/testkit";

/** Runs `oarlock` and gives what it prints; throws where it does not end with 0. */
export function oarlockHere(...args: readonly string[]): string {
  const cli = join(repositoryRoot(), "apps/cli/bin/oarlock.js");
  return execFileSync(process.execPath, [cli, ...args], { stdio: "pipe", encoding: "utf8" });
}

/** Runs `kubectl oarlock` with these variables besides the process's own; throws where it does not end with 0. */
export function kubectlOarlock(env: Readonly<Record<string, string>>, ...args: readonly string[]): string {
  const cli = join(repositoryRoot(), "apps/cli/bin/kubectl-oarlock.js");
  return execFileSync(process.execPath, [cli, ...args], {
    stdio: "pipe",
    encoding: "utf8",
    env: { ...process.env, ...env },
  });
}

/** SHA-256 (hex) of the final weights in a run folder. */
export function finalDigest(runFolder: string): string {
  const weights = readFileSync(join(runFolder, "final/model.safetensors"));
  return createHash("sha256").update(weights).digest("hex");
}
