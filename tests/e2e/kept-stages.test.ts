/**
 * A run file that was edited, run again into the same folder: finished stages whose inputs are the same are not run again, and
 * the rest ends with the very weights of a run that did all of it anew.
 */
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { temporaryFolder } from "@oarlock/testkit";
import { describe, expect, onTestFinished, test } from "vitest";
import { digestsOf, oarlock, recordsOf, startOarlock, stepsDone, summaryOf } from "./oarlock.ts";
import { tinyModel } from "../tiny-model.ts";

const RUN_FILE = `
apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: kept }
spec:
  seed: 3
  model: ${tinyModel(24)}
  pipeline: { mode: lockstep, lag: 1 }
  stages:
    - name: sft
      type: sft
      sft:
        data: { type: task, task: { name: addition, digits: 1, split: train } }
        steps: 6
        batchSize: 16
        optimizer: { learningRate: 0.003 }
    - name: rm
      type: reward-model
      reward-model:
        model: { from: model }
        data: { type: file, file: { path: ./pairs.jsonl } }
        steps: 5
        batchSize: 16
        heldOut: 0.3
        minimumAccuracy: 0.1
        optimizer: { learningRate: 0.003 }
    - name: ppo
      type: ppo
      ppo:
        data: { type: task, task: { name: addition, digits: 1, split: train } }
        steps: 9
        promptsPerStep: 8
        groupSize: 2
        sampling: { maxNewTokens: 4 }
        rewards: [{ name: preferred, type: model, model: { from: stage/rm } }]
        optimizer: { learningRate: 0.0005 }
  evaluation:
    data: { type: task, task: { name: addition, digits: 1, split: test, limit: 8 } }
    rewards: [{ name: answer, type: exact }]
  checkpoints: { every: 2, keep: 1 }
`;

/** `noise`: every other pair contradicts, so that no model can be right about all. */
function project({ noise = false } = {}): string {
  const folder = temporaryFolder("kept");
  const rows = Array.from({ length: 90 }, (_, i) => {
    const [a, b] = [Math.floor(i / 10), i % 10];
    const [right, wrong] = [String(a + b), `${a + b}${i % 7}0`];
    const [chosen, rejected] = noise && i % 2 === 0 ? [wrong, right] : [right, wrong];
    return JSON.stringify({ prompt: `${a}+${b}=`, chosen, rejected });
  });
  writeFileSync(join(folder, "run.yaml"), RUN_FILE);
  writeFileSync(join(folder, "pairs.jsonl"), `${rows.join("\n")}\n`);
  return folder;
}

/** The URL of a scorer that gives every completion the same score. */
async function alwaysOneHalf(): Promise<string> {
  const server = createServer((request, response) => {
    void json(request).then((body) => {
      const { samples } = body as { readonly samples: readonly unknown[] }; // by the contract of docs/rewards.md
      response.end(JSON.stringify({ results: samples.map(() => ({ score: 0.5 })) }));
    });
  }).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`; // a TCP server's
}

/** Stage, step and digest of every training step, and what was evaluated. */
const historyOf = (folder: string): unknown[] =>
  recordsOf(folder).map(({ kind, when, stage, step, globalStep, policyVersion, policyDigest, metrics }) => ({
    kind,
    when,
    stage,
    step,
    globalStep,
    policyVersion,
    policyDigest,
    found: Object.entries(metrics).filter(([name]) => name.startsWith("val-core/")),
  }));

const set = (...values: readonly string[]): string[] => values.flatMap((value) => ["--set", value]);

describe("a second run into the folder of the first", () => {
  test("keeps what is finished and unchanged, says why the rest runs, and ends as a whole run does", async () => {
    const folder = project();
    const run = (out: string, ...values: readonly string[]) =>
      oarlock(["run", "run.yaml", "--out", out, ...set(...values)], folder);
    expect((await run("first")).code).toBe(0);
    expect((await run("first")).text).toContain("is complete: nothing in its inputs changed");

    // The last stage alone.
    const gamma = "stages.ppo.ppo.gamma=0.9";
    const planned = await oarlock(
      ["plan", "run.yaml", "--no-calibrate", "--out", "first", ...set(gamma)],
      folder,
    );
    expect(planned.text).toMatch(/sft +is kept +finished, and its inputs are the same/);
    expect(planned.text).toMatch(/ppo +runs +ppo\.gamma was 1, is 0\.9/);
    const second = await run("first", gamma);
    expect(second.text).toMatch(/stage sft is kept: 6 steps/);
    expect(second.text).not.toMatch(/stage sft 6 steps/);
    await run("anew", gamma);
    expect(historyOf(join(folder, "first"))).toEqual(historyOf(join(folder, "anew")));
    expect(summaryOf(join(folder, "first")).stages.map(({ steps }) => steps)).toEqual([6, 5, 9]);
    expect(existsSync(join(folder, "first/earlier/1/report.html"))).toBe(true);

    // Held-out prompts, scored by the reward model that the folder keeps, and by a scorer in another process.
    const evaluated = (named: string, reward: string) =>
      oarlock(
        [
          "eval",
          named,
          "--json",
          "--model",
          "first",
          ...set(`evaluation.rewards=[${reward}]`, "evaluation.metric=r"),
        ],
        folder,
      );
    const byModel = "{name: r, type: model, model: {from: stage/rm}}";
    const { text } = await evaluated("first", byModel);
    expect(text).toContain('"val-core/addition/r/mean@');
    expect((await evaluated("anew", byModel)).text).toBe(text);
    expect((await evaluated("run.yaml", byModel)).text).toContain("EVAL_REWARD_MODEL_MISSING");
    const url = await alwaysOneHalf();
    const http = `{name: r, type: http, http: {url: "${url}"}}`;
    expect((await evaluated("first", http)).text).toMatch(/"val-core\/addition\/r\/mean@\d+":0\.5,/);

    // A stage before one that does not build on it: numbers move, results do not.
    const sft = "stages.sft.sft.steps=4";
    const third = await run("first", gamma, sft);
    expect(third.text).toMatch(/sft +runs +sft\.steps was 6, is 4/);
    expect(third.text).toMatch(/rm +is kept/);
    expect(third.text).toMatch(/ppo +runs +sft runs again/);
    await run("anew-2", gamma, sft);
    expect(historyOf(join(folder, "first"))).toEqual(historyOf(join(folder, "anew-2")));
  });

  test("T3: killed in the middle it continues to the same weights; another evaluation is made, a lower gate is enough", async () => {
    const folder = project({ noise: true });
    const gate = (accuracy: number) => `stages.rm.reward-model.minimumAccuracy=${accuracy}`;
    const args = (out: string, accuracy: number, samples: number): string[] => [
      "run",
      "run.yaml",
      "--out",
      out,
      ...set(
        gate(accuracy),
        "stages.rm.reward-model.optimizer.learningRate=1e-7",
        `evaluation.samples=${samples}`,
      ),
    ];
    const refused = await oarlock(args("first", 1, 2), folder);
    expect(refused.text).toContain("GATE_NOT_PASSED");

    const killed = startOarlock(args("first", 0.1, 3), folder);
    await stepsDone(join(folder, "first"), 6 + 5 + 4, killed);
    killed.child.kill("SIGKILL");
    expect((await killed.ended).text).toMatch(/stage rm is kept: 5 steps/);
    expect((await oarlock(["resume", "first"], folder)).code).toBe(0);
    await oarlock(args("anew", 0.1, 3), folder);
    expect(digestsOf(join(folder, "first"))).toEqual(digestsOf(join(folder, "anew")));
    const evaluated = recordsOf(join(folder, "first")).filter(
      ({ when, stage }) => when === "after" && stage === "sft",
    );
    expect(Object.keys(evaluated[0]?.metrics ?? {})).toContain("val-core/addition/answer/mean@3");
  });

  test("T3, D1: killed in the middle of the supervised and of the reward model's stage it ends with the same weights", async () => {
    const folder = project();
    const steps = 30;
    const longer = set(
      `stages.sft.sft.steps=${steps}`,
      `stages.rm.reward-model.steps=${steps}`,
      "stages.ppo.ppo.steps=2",
    );
    const args = (out: string): string[] => ["run", "run.yaml", "--out", out, ...longer];
    let run = startOarlock(args("killed"), folder);
    for (const stage of [1, 2]) {
      await stepsDone(join(folder, "killed"), (stage - 1) * steps + steps / 3, run);
      run.child.kill("SIGKILL");
      expect((await run.ended).code).not.toBe(0);
      expect(digestsOf(join(folder, "killed")).length).toBeLessThan(stage * steps);
      run = startOarlock(["resume", "killed"], folder);
    }
    expect((await run.ended).code).toBe(0);
    await oarlock(args("undisturbed"), folder);
    expect(digestsOf(join(folder, "killed"))).toEqual(digestsOf(join(folder, "undisturbed")));
  });
});
