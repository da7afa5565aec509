/** SIGKILL of the learner: right after an optimizer step, while it publishes, and while it writes a checkpoint. */
import { describe, expect, it } from "vitest";
import { requireNatsServer } from "@oarlock/testkit";
import { isWritingCheckpoint } from "./busy.ts";
import { chaosPlan, STEPS } from "./chaos-plan.ts";
import { DisturbedRun } from "./disturbed-run.ts";
import { expectUndisturbed } from "./expect-undisturbed.ts";

const program = requireNatsServer();

describe.skipIf(program.absent)(`the learner dies${program.note}`, () => {
  it("D1, T1, T3, F1: after steps and in mid-checkpoint; it resumes as a new incarnation", async () => {
    const killAt = new Set([3, 7]);
    await using run = await DisturbedRun.start({
      run: await chaosPlan(STEPS),
      natsServer: program.path,
      onEvent(event, disturbed) {
        // The version of this step is being published now; nothing of it is in a checkpoint.
        if (event.type === "step" && killAt.delete(event.step)) disturbed.signal("learner-0", "SIGKILL");
      },
    });
    await run.moment("both steps", () => killAt.size === 0 && run.child("learner-0").restarts === 2);
    await run.moment("a checkpoint is being written", () => isWritingCheckpoint(run.outDir));
    const inMidWrite = run.signal("learner-0", "SIGKILL");
    const { incarnation } = await expectUndisturbed(run);
    expect(incarnation).toBe(inMidWrite ? 4 : 3);
  });
});
