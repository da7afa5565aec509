/** SIGKILL of the reward worker in mid-score: what it held is judged again. */
import { describe, expect, it } from "vitest";
import { requireNatsServer } from "@oarlock/testkit";
import { isScoring } from "./busy.ts";
import { chaosPlan, STEPS } from "./chaos-plan.ts";
import { DisturbedRun } from "./disturbed-run.ts";
import { expectUndisturbed } from "./expect-undisturbed.ts";

const program = requireNatsServer();

describe.skipIf(program.absent)(`a reward worker dies in mid-score${program.note}`, () => {
  it("D1, T1, S1: twice, and no score is missing or made up", async () => {
    await using run = await DisturbedRun.start({ run: await chaosPlan(STEPS), natsServer: program.path });
    for (let kill = 0; kill < 2; kill++) {
      await run.moment("reward-0 scores", () => isScoring(run, "reward-0"));
      expect(run.signal("reward-0", "SIGKILL")).toBe(true);
      await run.moment("reward-0 is gone", () => run.child("reward-0").restarts > kill);
    }
    await expectUndisturbed(run);
  });
});
