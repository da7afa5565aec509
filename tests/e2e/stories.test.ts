/**
 * The examples on a real checkpoint, stories260K, converted by `oarlock convert` and trained through `oarlock run`: by GRPO it learns
 * to tell happy stories, and still tells stories; and the classic three stages run in full.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadModelFolder } from "@oarlock/models";
import { parseSamples } from "@oarlock/report";
import { requireFile, temporaryFolder } from "@oarlock/testkit";
import { createTokenizer } from "@oarlock/tokenizer";
import { describe, expect, test } from "vitest";
import { storyNll, storyText } from "../integration/story-nll.ts";
import { oarlock, recordsOf, summaryOf } from "./oarlock.ts";

const checkpoint = requireFile("models", "../shared/models/stories260K/stories260K.bin");
const example = (name: string): string => join(import.meta.dirname, "../../examples", name);

/** A folder with the model in Hugging Face layout. */
async function converted(): Promise<string> {
  const folder = temporaryFolder("stories");
  const tokenizer = join(checkpoint.path, "../tok512.bin");
  const ended = await oarlock(["convert", checkpoint.path, "model", "--tokenizer", tokenizer], folder);
  expect(ended.code, ended.text).toBe(0);
  return folder;
}

async function run(folder: string, name: string, set: readonly string[] = []): Promise<void> {
  const values = [`model.from=${folder}/model`, ...set].flatMap((one) => ["--set", one]);
  const ran = await oarlock(["run", example(name), "--out", "out", ...values], folder);
  expect(ran.code, ran.text).toBe(0);
}

describe.skipIf(checkpoint.absent || storyText.absent)(`examples/stories.yaml${checkpoint.note}`, () => {
  test("held-out stories become happy within 30 steps, and real stories stay likely", async () => {
    const folder = await converted();
    await run(folder, "stories.yaml");

    const { steps, stages } = summaryOf(join(folder, "out"));
    const [{ before, after } = {}] = stages;
    const share = (metrics: Readonly<Record<string, number>> | undefined): number | undefined =>
      Object.entries(metrics ?? {}).find(([name]) => name.endsWith("/happy/mean@8"))?.[1];
    expect(steps).toBeLessThanOrEqual(30);
    expect(share(before?.metrics)).toBeLessThan(0.15);
    expect(share(after?.metrics)).toBeGreaterThanOrEqual(0.8);

    const model = await loadModelFolder(join(folder, "out", "final"));
    const nll = await storyNll(model.config, model.weights, createTokenizer(model.tokenizer!));
    expect(nll).toBeLessThanOrEqual(1.65);
  });
});

describe.skipIf(checkpoint.absent)(`examples/rlhf-stories.yaml${checkpoint.note}`, () => {
  test("runs all three stages; what they are trained on is the judge of this run, and never the gold score", async () => {
    const folder = await converted();
    const out = join(folder, "out");
    // Enough to see that every stage does its part; the numbers of the whole are measured, and in the README.
    await run(folder, "rlhf-stories.yaml", [
      "stages.style.sft.steps=4",
      "stages.judge.reward-model.steps=24",
      "stages.judge.reward-model.minimumAccuracy=0.5",
      "stages.please.ppo.steps=5",
      "evaluation.samples=1",
    ]);
    const { status, stages } = summaryOf(out);
    expect(status).toBe("completed");
    expect(stages.map(({ name, steps }) => [name, steps])).toEqual([
      ["style", 4],
      ["judge", 24],
      ["please", 5],
    ]);

    const judge = await loadModelFolder(join(out, "models", "judge"));
    expect(judge.config.head).toBe("score");
    const samples = parseSamples(readFileSync(join(out, "samples.jsonl"), "utf8"));
    const trained = samples.filter(({ kind, stage }) => kind === "rollout" && stage === "please");
    expect(trained.length).toBeGreaterThan(0);
    for (const { rewards, total, versions } of trained) {
      expect(total).toBe(rewards["preferred"]);
      expect(versions?.["preferred"]).toBe(`sha256:${judge.digest}`);
    }
    // It would have changed the total.
    expect(trained.some(({ rewards }) => rewards["gold"]! > 0)).toBe(true);
    const steps = recordsOf(out).filter(({ kind, stage }) => kind === "step" && stage === "please");
    for (const { metrics } of steps) expect(metrics["gold/gold/mean"]).toBeTypeOf("number");

    const report = readFileSync(join(out, "report.html"), "utf8");
    for (const part of ["Stage style", "Stage judge", "Stage please", "Lead R_w − R_l", "calibration error"])
      expect(report).toContain(part);
  });
});
