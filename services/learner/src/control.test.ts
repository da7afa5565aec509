import { expect, test } from "vitest";
import { createControl } from "./control.ts";

test("L1: whoever waits for a checkpoint hears that the run is over", async () => {
  const control = createControl();
  const [first, second] = [control.nextCheckpoint(), control.nextCheckpoint()];
  const info = { incarnation: 1, step: 3, path: "p", digest: "d" };
  control.checkpointed(info);
  expect(await Promise.all([first, second])).toEqual([info, info]);
  const third = control.nextCheckpoint();
  control.dispatch({ type: "ended", phase: "failed", message: "the bus is gone" });
  await expect(third).rejects.toMatchObject({ code: "RUN_ENDED" });
});
