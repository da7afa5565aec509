/** The broker dies and comes back, and once it loses its disk: everybody waits, reconnects, and goes on. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { requireNatsServer } from "@oarlock/testkit";
import { sleep } from "@oarlock/runtime";
import { chaosPlan, STEPS } from "./chaos-plan.ts";
import { DisturbedRun } from "./disturbed-run.ts";
import type { DisturbedOptions } from "./disturbed-run.ts";
import { expectUndisturbed } from "./expect-undisturbed.ts";

const program = requireNatsServer();

describe.skipIf(program.absent)(`the broker dies${program.note}`, () => {
  const begin = async (): Promise<{ run: DisturbedRun; reached: (step: number) => Promise<void> }> => {
    let step = 0;
    const onEvent: DisturbedOptions["onEvent"] = (event) => {
      if (event.type === "step") step = event.step;
    };
    const run = await DisturbedRun.start({ run: await chaosPlan(STEPS), natsServer: program.path, onEvent });
    return { run, reached: (wanted) => run.moment(`step ${wanted}`, () => step >= wanted) };
  };

  it("D1, T1: twice, and comes back with its disk", async () => {
    const { run, reached } = await begin();
    await using _ = run;
    for (const step of [3, 7]) {
      await reached(step);
      await run.broker.stop("SIGKILL");
      await sleep(500);
      await run.startBroker();
    }
    await expectUndisturbed(run);
    expect(run.children().map(({ restarts }) => restarts)).toEqual([0, 0, 0, 0]);
  });

  it("D1, T1, T3: and loses its disk", async () => {
    const { run, reached } = await begin();
    await using _ = run;
    await reached(5);
    await run.broker.stop("SIGKILL");
    rmSync(join(run.outDir, "broker", "store"), { recursive: true });
    await run.startBroker();
    const { incarnation } = await expectUndisturbed(run);
    expect(incarnation).toBeGreaterThan(1);
  });
});
