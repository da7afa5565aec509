/** What travels with a run to a cluster. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { loadRunFile } from "../run-file-source.ts";
import { packRun } from "./pack.ts";

const RUN_FILE = `
apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: scored }
spec:
  model: { from: "hf://org/name" }
  stages:
    - name: learn
      type: grpo
      grpo:
        data: { type: task, task: { name: addition } }
        steps: 1
        rewards: [{ name: liked, type: model, model: { from: ./trained } }]
`;

it("of a reward model's folder goes what is read, and nothing else that a trainer left there", async () => {
  const folder = mkdtempSync(join(tmpdir(), "oarlock-pack-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "run.yaml"), RUN_FILE);
  mkdirSync(join(folder, "trained/checkpoint-500"), { recursive: true });
  for (const name of ["config.json", "model.safetensors", "tokenizer.json", "optimizer.pt", "README.md"])
    writeFileSync(join(folder, "trained", name), name);
  writeFileSync(join(folder, "trained/checkpoint-500/model.safetensors"), "old");
  const { run, bundles } = await packRun(await loadRunFile(join(folder, "run.yaml"), []));
  expect(bundles.map(({ entries }) => [...entries.keys()])).toEqual([
    ["trained/config.json", "trained/model.safetensors", "trained/tokenizer.json"],
  ]);
  expect(JSON.stringify(run.spec)).toContain(`bundle://sha256-${bundles[0]?.digest}/trained`);
});
