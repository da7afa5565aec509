/** SIGKILL of actors in mid-generation: what they held is generated again, bit for bit. */
import { describe, expect, it } from "vitest";
import { requireNatsServer } from "@oarlock/testkit";
import { isGenerating } from "./busy.ts";
import { chaosPlan, STEPS } from "./chaos-plan.ts";
import { DisturbedRun } from "./disturbed-run.ts";
import { expectUndisturbed } from "./expect-undisturbed.ts";

const program = requireNatsServer();

describe.skipIf(program.absent)(`an actor dies in mid-generation${program.note}`, () => {
  it("D1, T1: three times, and nothing is lost; actors compute the reference as the learner does in peace", async () => {
    const plan = await chaosPlan(STEPS, ["stages.grpo.grpo.reference.computedBy=actors"]);
    await using run = await DisturbedRun.start({ run: plan, natsServer: program.path });
    for (const instance of ["actor-0", "actor-1", "actor-0"]) {
      await run.moment(`${instance} generates`, () => isGenerating(run, instance));
      expect(run.signal(instance, "SIGKILL")).toBe(true);
    }
    await expectUndisturbed(run);
    expect(run.child("actor-0").restarts).toBe(2);
    expect(run.child("actor-1").restarts).toBe(1);
  });
});
