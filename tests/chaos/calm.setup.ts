/** Runs the chaos plan once in peace, in one process: what every disturbed run must come out as (D1). */
import { requireNatsServer } from "@oarlock/testkit";
import type { TestProject } from "vitest/node";
import { chaosPlan, STEPS } from "./chaos-plan.ts";
import { undisturbed } from "./disturbed-run.ts";

declare module "vitest" {
  interface ProvidedContext {
    /** Digests of the policy after every step. */
    readonly calmDigests: readonly string[];
  }
}

export async function setup(project: TestProject): Promise<void> {
  // Without a server nothing is disturbed, so there is nothing to compare with.
  const digests = requireNatsServer().absent ? [] : await undisturbed(await chaosPlan(STEPS));
  project.provide("calmDigests", digests);
}
