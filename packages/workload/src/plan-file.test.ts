/** A service follows the plan that was resolved, and no other. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ResolvedRun, runDigest } from "@oarlock/runfile";
import { temporaryFolder } from "@oarlock/testkit";
import { expect, it } from "vitest";
import { readPlanFile } from "./plan-file.ts";

// All that the digest asks of a plan.
const run = { kind: "ResolvedRun", spec: { seed: 3, compute: { actors: 1 } }, inputs: { data: [] } };
const digest = runDigest(
  run.spec as unknown as ResolvedRun["spec"],
  run.inputs as unknown as ResolvedRun["inputs"],
);

function planFile(change: object): string {
  const path = join(temporaryFolder("plan"), "plan.json");
  writeFileSync(path, JSON.stringify({ uid: "u", baseDir: "/b", run: { ...run, digest, ...change } }));
  return path;
}

it("reads a plan, whatever the number of its actors became", async () => {
  const spec = { seed: 3, compute: { actors: 2 } };
  expect(await readPlanFile(planFile({ spec }))).toMatchObject({ uid: "u", run: { digest, spec } });
});

it("refuses one that was edited: it gives other weights under the same digest", async () => {
  const path = planFile({ spec: { seed: 4, compute: { actors: 1 } } });
  await expect(readPlanFile(path)).rejects.toThrow(
    `[PLAN_CHANGED] ${path} was changed since it was planned (${digest.slice(0, 12)}); accepted: the file as it was, or`,
  );
});
