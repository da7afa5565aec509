/**
 * Oarlock from one's own repository: the tarballs that `npm pack` makes, installed into an empty folder, train a run
 * whose reward is a TypeScript file there that imports its sibling and an npm package.
 */
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "oarlock-packed-"));
const run = (command: string, args: readonly string[], cwd: string): string =>
  execFileSync(command, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], timeout: 400_000 });

const runFile = `
apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: own-reward }
spec:
  seed: 1
  model:
    init:
      architecture: llama
      hiddenSize: 32
      intermediateSize: 64
      layers: 1
      heads: 2
      kvHeads: 1
      maxPositions: 32
      tokenizer: { type: characters, characters: { alphabet: "0123456789+=" } }
  stages:
    - name: grpo
      type: grpo
      grpo:
        data: { type: task, task: { name: addition, digits: 1, split: train } }
        steps: 2
        promptsPerStep: 4
        groupSize: 4
        sampling: { maxNewTokens: 3 }
        rewards:
          - { name: digits, weight: 1, type: function, function: { file: ./reward.ts } }
`;

beforeAll(() => {
  const tarballs = join(folder, "tarballs");
  const own = join(folder, "own");
  mkdirSync(tarballs);
  mkdirSync(own);
  run(
    "npm",
    ["pack", "--workspaces", "--silent", "--pack-destination", tarballs],
    join(import.meta.dirname, "../.."),
  );
  writeFileSync(join(own, "package.json"), JSON.stringify({ name: "own", private: true, type: "module" }));
  const files = readdirSync(tarballs)
    .filter((file) => !file.includes("oarlock-tests"))
    .map((file) => join(tarballs, file));
  // As the README says: nothing needs its install scripts, and onnxruntime-node's would fetch a CUDA build.
  const quiet = ["--no-audit", "--no-fund", "--loglevel=error"];
  run("npm", ["install", "--ignore-scripts", ...quiet, "picocolors", ...files], own);
  writeFileSync(join(own, "run.yaml"), runFile);
  writeFileSync(
    join(own, "share.ts"),
    "export const share = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);\n",
  );
  writeFileSync(
    join(own, "reward.ts"),
    `import { defineReward } from "@oarlock/rewards";
import pc from "picocolors";
import { share } from "./share.ts";

export const reward = defineReward(({ completion }) => {
  const digits: number = [...completion].filter((character) => character >= "0" && character <= "9").length;
  return typeof pc.bold === "function" ? share(digits, completion.length) : 0;
});
`,
  );
}, 600_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("a run with a reward of one's own repository trains on the packed packages", () => {
  const own = join(folder, "own");
  run("npx", ["oarlock", "run", "run.yaml", "--out", "out"], own);
  const summary = JSON.parse(readFileSync(join(own, "out", "summary.json"), "utf8")) as { status: string };
  expect(summary.status).toBe("completed");
  const samples = readFileSync(join(own, "out", "samples.jsonl"), "utf8")
    .trim()
    .split("\n");
  expect(samples.length).toBeGreaterThan(0);
  expect(existsSync(join(own, "out", "final", "model.safetensors"))).toBe(true);
});
