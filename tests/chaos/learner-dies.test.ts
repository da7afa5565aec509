/**
 * SIGKILL of the learner before, in and after the optimizer step, while it publishes, and while it writes a checkpoint: each at
 * the very moment (`@oarlock/runtime`, moment.ts).
 */
import { describe, expect, it } from "vitest";
import type { Moment } from "@oarlock/runtime";
import { requireNatsServer } from "@oarlock/testkit";
import { chaosPlan, STEPS } from "./chaos-plan.ts";
import { DisturbedRun } from "./disturbed-run.ts";
import { expectUndisturbed } from "./expect-undisturbed.ts";

const program = requireNatsServer();

/** With a checkpoint every second step, so late that its successor does not come so far again. */
const DEATHS: readonly { readonly moment: Moment; readonly time: number }[] = [
  { moment: "update-begins", time: 9 },
  { moment: "gradients-ready", time: 9 },
  { moment: "update-applied", time: 9 },
  { moment: "policy-stored", time: 10 },
  { moment: "checkpoint-written", time: 4 },
];

describe.skipIf(program.absent)(`the learner dies${program.note}`, () => {
  it.each(DEATHS)("D1, T1, T3, F1: $moment; it resumes as a new incarnation", async (death) => {
    await using run = await DisturbedRun.start({
      run: await chaosPlan(STEPS),
      natsServer: program.path,
      environment: { OARLOCK_DIE_AT: `${death.moment}:${death.time}` },
    });
    const { incarnation } = await expectUndisturbed(run);
    expect(run.child("learner-0").restarts).toBe(1);
    expect(incarnation).toBe(2);
  });
});
