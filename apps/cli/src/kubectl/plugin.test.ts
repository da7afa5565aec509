/** The plugin without a cluster: its commands, exit codes, and what `submit --dry-run` packs. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readRunFile } from "@oarlock/runfile";
import { recordingTerminal } from "../terminal.ts";
import { main } from "./main.ts";

const run = async (...args: readonly string[]) => {
  const terminal = recordingTerminal();
  const code = await main(["node", "kubectl-oarlock", ...args], terminal);
  return { code, text: terminal.lines.join("\n") };
};

const RUN = `apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: mine }
spec:
  model: { from: hf://org/name }
  stages:
    - name: grpo
      type: grpo
      grpo:
        data: { type: file, file: { path: rows.jsonl } }
        steps: 1
        rewards: [{ name: mine, type: function, function: { file: ./reward.ts } }]
  evaluation: { data: { type: file, file: { path: rows.jsonl } } }
`;

describe("kubectl oarlock", () => {
  const folder = mkdtempSync(join(tmpdir(), "oarlock-plugin-"));
  beforeAll(() => {
    writeFileSync(join(folder, "run.yaml"), RUN);
    writeFileSync(join(folder, "rows.jsonl"), '{"prompt":"a","answer":"b"}\n');
    writeFileSync(join(folder, "one.ts"), "export const one = 1;\n");
    const reward = 'import { one } from "./one.ts";\nexport const reward = () => one;\n';
    writeFileSync(join(folder, "reward.ts"), reward);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("tells a wrong command line (2) from a wrong file (3)", async () => {
    expect(await run("nothing")).toMatchObject({ code: 2 });
    expect(await run("submit", join(folder, "absent.yaml"))).toMatchObject({ code: 3 });
  });

  it.each([
    ["samples mine -o wide", "samples has no form 'wide'; accepted: json, yaml"],
    ["samples mine -o name", "samples has no form 'name'; accepted: json, yaml"],
    ["doctor -o name", "doctor has no form 'name'; accepted: json, yaml, wide"],
  ])("refuses a form that makes no sense, before it asks anybody: %s", async (line, words) => {
    const { code, text } = await run(...line.split(" "));
    expect({ code, text }).toEqual({ code: 3, text: expect.stringContaining(`[OUTPUT_UNKNOWN] ${words}`) });
  });

  it.each(["suspend", "resume", "checkpoint", "why", "samples", "submit"])(
    "%s knows kubectl's forms, and no others",
    async (command) => {
      const { code, text } = await run(command, "mine", "-o", "xml");
      expect({ code, text }).toEqual({
        code: 2,
        text: expect.stringContaining("Allowed choices are json, yaml, wide, name"),
      });
    },
  );

  it("packs every local file once, and leaves what a pod can read", async () => {
    const first = await run("submit", join(folder, "run.yaml"), "--dry-run");
    expect(first.code).toBe(0);
    const packed = readRunFile(first.text, { file: "packed.json" });
    if (!packed.ok) throw new Error("the packed run is no run file");
    const { model, stages, evaluation } = packed.file.run.spec;
    expect(model.from).toBe("hf://org/name");
    const data = stages[0]?.grpo?.data.file?.path;
    expect(data).toMatch(/^bundle:\/\/sha256-[0-9a-f]{64}\/rows\.jsonl$/);
    expect(evaluation?.data.file?.path).toBe(data);
    const code = stages[0]?.grpo?.rewards[0]?.function?.file;
    expect(code).toMatch(/^bundle:\/\/sha256-[0-9a-f]{64}\/reward\.mjs$/);
    // By content: the same files have the same names, and another import is other code.
    expect((await run("submit", join(folder, "run.yaml"), "--dry-run")).text).toBe(first.text);
    writeFileSync(join(folder, "one.ts"), "export const one = 2;\n");
    expect((await run("submit", join(folder, "run.yaml"), "--dry-run")).text).not.toBe(first.text);
  });
});
