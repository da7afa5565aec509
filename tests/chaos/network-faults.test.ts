/**
 * A network between the processes and the broker that is slow and cuts every connection now and then, in mid-message: answers
 * are lost, so messages are sent twice; acknowledgements are lost, so they are delivered twice; everything is late.
 */
import { describe, expect, it } from "vitest";
import { requireNatsServer, startFaultProxy } from "@oarlock/testkit";
import type { FaultProxy } from "@oarlock/testkit";
import { sleep } from "@oarlock/runtime";
import { chaosPlan, STEPS } from "./chaos-plan.ts";
import { DisturbedRun } from "./disturbed-run.ts";
import { expectUndisturbed } from "./expect-undisturbed.ts";

const program = requireNatsServer();
const MAX_DELAY_MS = 20;
const CUT_EVERY_MS = 1_200;

describe.skipIf(program.absent)(`the network fails${program.note}`, () => {
  it("D1, T1: late and doubled messages change nothing", async () => {
    let count = 0;
    const delayMs = (): number => ((Math.imul(++count, 2_654_435_761) >>> 8) / 2 ** 24) * MAX_DELAY_MS;
    let proxy: FaultProxy | undefined;
    await using run = await DisturbedRun.start({
      run: await chaosPlan(STEPS),
      natsServer: program.path,
      async between({ port }) {
        proxy = await startFaultProxy({ targetPort: port, delayMs });
        return `nats://127.0.0.1:${proxy.port}`;
      },
    });
    let cuts = 0;
    const cutting = (async () => {
      while (!run.over) {
        await sleep(CUT_EVERY_MS);
        if ((proxy?.open ?? 0) > 0) cuts++;
        proxy?.cut();
      }
    })();
    await expectUndisturbed(run);
    await cutting;
    expect(cuts).toBeGreaterThan(3);
    // Nobody died of it.
    const restarts = run.children().map((child) => child.restarts);
    expect(restarts, run.logs()).toEqual([0, 0, 0, 0]);
  });
});
