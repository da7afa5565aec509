/** SIGSTOP of an actor for longer than the ack wait, then SIGCONT: its work went to another, and what it says late is void. */
import { describe, expect, it } from "vitest";
import { ACK_WAIT_MS } from "@oarlock/run";
import { sleep } from "@oarlock/runtime";
import { requireNatsServer } from "@oarlock/testkit";
import { isGenerating } from "./busy.ts";
import { chaosPlan, STEPS } from "./chaos-plan.ts";
import { DisturbedRun } from "./disturbed-run.ts";
import { expectUndisturbed } from "./expect-undisturbed.ts";

const program = requireNatsServer();

describe.skipIf(program.absent)(`an actor stands still and comes back${program.note}`, () => {
  it("D1, T1: its late answers are duplicates, and count for nothing", async () => {
    await using run = await DisturbedRun.start({ run: await chaosPlan(STEPS), natsServer: program.path });
    await run.moment("actor-0 generates", () => isGenerating(run, "actor-0"));
    run.signal("actor-0", "SIGSTOP");
    await sleep(ACK_WAIT_MS + 1_000);
    run.signal("actor-0", "SIGCONT");
    await expectUndisturbed(run);
    expect(run.child("actor-0").restarts).toBe(0);
  });
});
