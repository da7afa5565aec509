import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it, onTestFinished } from "vitest";
import { openTensorboardFile } from "./tensorboard-file.ts";

it("what cannot be written ends the file, as its end says, and not the process", async () => {
  const home = mkdtempSync(join(tmpdir(), "oarlock-tensorboard-"));
  onTestFinished(() => rmSync(home, { recursive: true }));
  const folder = join(home, "events");
  const file = await openTensorboardFile(folder, 0, "host");
  file.append(record);
  await sleep(50); // the file is there
  rmSync(folder, { recursive: true });
  file.append(record);
  await sleep(50); // a rejection that nobody handles is told by now, and fails this test
  file.append(record);
  await expect(file.close()).rejects.toMatchObject({ code: "ENOENT" });
});

const record = {
  kind: "step",
  stage: "sft",
  step: 1,
  globalStep: 1,
  policyVersion: 1,
  policyDigest: "d",
  timeMs: 0,
  metrics: { "train/loss": 1 },
} as const;
