/** What a plan says that a run costs. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PLAIN } from "@oarlock/report";
import { expect, it, onTestFinished } from "vitest";
import { prepare } from "../prepare.ts";
import { tinyRun } from "../specimens.ts";
import { renderCost } from "./plan.ts";

const RUN_FILE = tinyRun(`    - name: learn
      type: grpo
      grpo:
        data: { type: task, task: { name: addition, digits: 1 } }
        steps: 2
        sampling: { maxNewTokens: 4 }
        rewards:
          - { name: answer, type: exact }
          - { name: theirs, type: http, http: { url: "http://127.0.0.1:1" } }
`);
const TIME = { stages: [], evaluationSeconds: 0, totalSeconds: 3 };

it("names the reward models that are read, and promises no time of what others take", async () => {
  const folder = mkdtempSync(join(tmpdir(), "oarlock-cost-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "run.yaml"), RUN_FILE);
  const planOf = async (...set: string[]) => (await prepare(join(folder, "run.yaml"), set)).plan;
  const plan = await planOf();
  const { shape, parameters } = plan.run.inputs.model;
  const scorers = [{ from: "./rm", shape, digest: "abc" }];
  const reading = { ...plan, run: { ...plan.run, inputs: { ...plan.run.inputs, scorers } } };
  const said = renderCost(reading, TIME, PLAIN);
  expect(said).toContain(`./rm: ${parameters.toLocaleString("en-US")} parameters, abc`);
  expect(said).toMatch(
    /^time +about 3\.0 s where every answer is at its longest beside what scoring by theirs takes, evaluations /m,
  );
  const alone = await planOf("stages.learn.grpo.rewards=[{name: answer, type: exact}]");
  expect(renderCost(alone, TIME, PLAIN)).toMatch(
    /^time +about 3\.0 s where every answer is at its longest, evaluations /m,
  );
});
