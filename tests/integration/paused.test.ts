/** A run that is paused still does what it is asked for, and ends when it is told to. */
import { startLocalRun } from "@oarlock/cli/local";
import { LearnerService, RunPhase } from "@oarlock/proto";
import { openChannel } from "@oarlock/rpc";
import { temporaryFolder } from "@oarlock/testkit";
import { expect, test } from "vitest";
import { additionPlan } from "./addition-plan.ts";

test("T3, L1: a paused run writes a checkpoint when it is asked to, and can be given up", async () => {
  const folder = temporaryFolder("paused");
  let stepped: () => void = () => undefined;
  const firstStep = new Promise<void>((resolve) => (stepped = resolve));
  const run = await startLocalRun(additionPlan([]), {
    outDir: folder,
    baseDir: folder,
    onEvent: ({ type }) => void (type === "step" && stepped()),
  });
  const over = run.finished.then(
    ({ status }) => status,
    () => "given up",
  );
  await firstStep;
  const channel = openChannel(run.addresses.learner);
  try {
    const learner = channel.client(LearnerService);
    await learner.pause({});
    let step = -1;
    const isStill = async (): Promise<boolean> => {
      const { run: status } = await learner.getRunStatus({});
      const before = step;
      step = status?.step ?? 0;
      return status?.phase === RunPhase.PAUSED && step === before;
    };
    await expect.poll(isStill, { timeout: 30_000, interval: 500 }).toBe(true);
    const { path } = await learner.checkpointNow({});
    expect(path).not.toBe("");
    await run.abandon();
    expect(await over).toBe("given up");
  } finally {
    await channel.close();
  }
});
