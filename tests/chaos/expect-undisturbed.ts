/** What must hold of a run after whatever was done to it. */
import { expect, inject } from "vitest";
import type { DisturbedRun, RunRecord } from "./disturbed-run.ts";
import { GROUPS_PER_STEP, STEPS } from "./chaos-plan.ts";

/** D1: the weights of the undisturbed run after every step. T1: every step, and so every group, is trained once. */
export async function expectUndisturbed(run: DisturbedRun): Promise<RunRecord> {
  const { outcome, ...record } = await run.finish().catch((reason: unknown) => {
    throw new Error(`the run failed; its logs:\n${run.logs().slice(-20_000)}`, { cause: reason });
  });
  expect(outcome).toMatchObject({ status: "completed", steps: STEPS });
  expect(record.digests).toHaveLength(STEPS);
  expect(record.digests).toEqual(inject("calmDigests"));
  expect(record.groupsTrained).toBe(STEPS * GROUPS_PER_STEP);
  return record;
}
