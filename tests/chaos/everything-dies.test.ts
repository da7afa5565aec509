/** Everything is killed at once and the broker's disk is lost; the run is resumed on a new broker from its checkpoint. */
import { describe, expect, it } from "vitest";
import { requireNatsServer } from "@oarlock/testkit";
import { chaosPlan, STEPS } from "./chaos-plan.ts";
import { DisturbedRun } from "./disturbed-run.ts";
import { expectUndisturbed } from "./expect-undisturbed.ts";

const program = requireNatsServer();

describe.skipIf(program.absent)(`everything dies${program.note}`, () => {
  it("D1, T1, T3: with the broker's disk, and resumes at lag 1 to the same weights", async () => {
    let step = 0;
    await using run = await DisturbedRun.start({
      run: await chaosPlan(STEPS),
      natsServer: program.path,
      onEvent: (event) => {
        if (event.type === "step") step = event.step;
      },
    });
    await run.moment("step 5", () => step >= 5);
    await run.abandon();
    await run.resume();
    const { incarnation } = await expectUndisturbed(run);
    expect(incarnation).toBe(2);
  });
});
