/**
 * GRPO on a real checkpoint: stories260K, converted by `oarlock convert` and trained by examples/stories.yaml through
 * `oarlock run`, learns to tell happy stories, and still tells stories.
 */
import { join } from "node:path";
import { loadModelFolder } from "@oarlock/models";
import { requireFile, temporaryFolder } from "@oarlock/testkit";
import { createTokenizer } from "@oarlock/tokenizer";
import { describe, expect, test } from "vitest";
import { storyNll, storyText } from "../integration/story-nll.ts";
import { oarlock, summaryOf } from "./oarlock.ts";

const checkpoint = requireFile("models", "../shared/models/stories260K/stories260K.bin");
const example = join(import.meta.dirname, "../../examples/stories.yaml");

describe.skipIf(checkpoint.absent || storyText.absent)(`examples/stories.yaml${checkpoint.note}`, () => {
  test("held-out stories become happy within 30 steps, and real stories stay likely", async () => {
    const folder = temporaryFolder("stories");
    const tokenizer = join(checkpoint.path, "../tok512.bin");
    const converted = await oarlock(["convert", checkpoint.path, "model", "--tokenizer", tokenizer], folder);
    expect(converted.code, converted.text).toBe(0);
    const ran = await oarlock(
      ["run", example, "--out", "out", "--set", `model.from=${folder}/model`],
      folder,
    );
    expect(ran.code, ran.text).toBe(0);

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
