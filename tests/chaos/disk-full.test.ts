/** The disk is full, the checkpoints' or the broker's: a line names it, and with room again the run comes out the same. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { mountSmallDisk, requireMount, requireNatsServer } from "@oarlock/testkit";
import type { SmallDisk } from "@oarlock/testkit";
import { chaosPlan, STEPS } from "./chaos-plan.ts";
import { DisturbedRun } from "./disturbed-run.ts";
import { expectUndisturbed } from "./expect-undisturbed.ts";

const program = requireNatsServer();
const mounting = requireMount();
const MIB = 2 ** 20;
const ASKED = /"operation":"store [^"]+".*the NATS server does not do what it is asked, trying again/;

describe.skipIf(program.absent || mounting.absent)(`the disk is full${program.note}${mounting.note}`, () => {
  it("T3, D1: of the checkpoints: the run stops with the cause, and resumes once there is room", async () => {
    let disk: SmallDisk | undefined;
    let filled = false;
    await using run = await DisturbedRun.start({
      run: await chaosPlan(STEPS),
      natsServer: program.path,
      disks: (outDir) => [(disk = mountSmallDisk(join(outDir, "checkpoints"), 16 * MIB))],
      onEvent: (event) => {
        // Once: the step is done again after the resume.
        if (event.type !== "step" || event.step !== 5 || filled) return;
        filled = true;
        disk?.fill();
      },
    });
    await expect(run.finish()).rejects.toThrow(
      /CHILD_FAILED.*learner-0: it cannot go on.*CHECKPOINT_DISK_FULL.*checkpoints/,
    );
    disk?.clear();
    await run.broker.stop();
    await run.resume();
    await expectUndisturbed(run);
  });

  it("T2, D1: of the broker: it says so, and the run goes on once there is room and it is restarted", async () => {
    let disk: SmallDisk | undefined;
    let step = 0;
    const said: string[] = [];
    await using run = await DisturbedRun.start({
      run: await chaosPlan(STEPS),
      natsServer: program.path,
      environment: { OARLOCK_STALL_WARN_MS: "2000" },
      disks: (outDir) => [(disk = mountSmallDisk(join(outDir, "broker"), 64 * MIB))],
      onEvent: (event) => {
        if (event.type === "step") step = event.step;
        if (event.type === "stalled") said.push(event.message);
      },
    });
    await run.moment("step 4", () => step >= 4);
    disk?.fill();
    await run.moment("a line of the learner", () => said.some((message) => message.includes("held up at")));
    // Who it is that has to wait depends on the moment; the server never answers, and says why only in its own log.
    await run.moment("a line of whoever asked the broker", () => ASKED.test(run.logs()));
    expect(run.brokerErrors.join("\n")).toMatch(/no space left on device/);
    expect(step).toBeLessThan(STEPS);
    disk?.clear();
    // nats-server does not write to a stream again that it could not write to, whatever room there is, until it is restarted.
    await run.broker.stop();
    await run.startBroker();
    await expectUndisturbed(run);
  });
});
