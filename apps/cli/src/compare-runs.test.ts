/** What `oarlock reproduce` says of two runs of one plan. */
import { expect, it } from "vitest";
import type { ResolvedRun } from "@oarlock/runfile";
import { changedInputs, withoutReplaced } from "./compare-runs.ts";
import { prepare } from "./prepare.ts";
import { tinyRun } from "./specimens.ts";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const RUN_FILE =
  tinyRun(`    - { name: warm, type: sft, sft: { data: { type: file, file: { path: ./sums.jsonl } }, steps: 20, batchSize: 1 } }
`);

async function planOf(sums: string, ...set: string[]): Promise<ResolvedRun> {
  const folder = await mkdtemp(join(tmpdir(), "oarlock-compare-"));
  try {
    await writeFile(join(folder, "run.yaml"), RUN_FILE);
    await writeFile(join(folder, "sums.jsonl"), `{"prompt": "1+1=", "completion": "${sums}"}\n`);
    return (await prepare(join(folder, "run.yaml"), set)).plan.run;
  } finally {
    await rm(folder, { recursive: true });
  }
}

it("D1: names what changed, down to the file or the field", async () => {
  const was = await planOf("2");
  expect(changedInputs(was, await planOf("2"))).toEqual([]);
  expect(changedInputs(was, await planOf("3"))).toEqual([
    {
      input: "data",
      part: "stages.0.sft.data (./sums.jsonl) digest",
      was: expect.stringMatching(/^"[0-9a-f]{64}"$/),
      is: expect.stringMatching(/^"[0-9a-f]{64}"$/),
    },
  ]);
  expect(changedInputs(was, await planOf("2", "stages.warm.mask=all"))).toEqual([
    { input: "spec", part: "stages.0.sft.mask", was: '"completion"', is: '"all"' },
  ]);
  const { inputs } = was;
  const elsewhere = { ...was, inputs: { ...inputs, engine: { ...inputs.engine, instructionSet: "other" } } };
  expect(changedInputs(was, elsewhere)).toEqual([
    { input: "instruction set", part: "", was: JSON.stringify(inputs.engine.instructionSet), is: '"other"' },
  ]);
});

it("T3: a reward model that was replaced may lie there no more, and every other must", async () => {
  const was = await planOf("2");
  const reading = (...digests: readonly string[]): ResolvedRun => {
    const { shape } = was.inputs.model;
    const scorers = digests.map((digest, at) => ({ from: `./rm-${at}`, shape, digest }));
    return { ...was, inputs: { ...was.inputs, scorers } };
  };
  const replaced = new Set(["./rm-0"]);
  const changed = (...digests: readonly string[]): readonly string[] =>
    changedInputs(
      withoutReplaced(reading("a", "b"), replaced),
      withoutReplaced(reading(...digests), replaced),
    ).map(({ part }) => part);
  expect(changed("other", "b")).toEqual([]);
  expect(changed("a", "other")).toEqual(["./rm-1 digest"]);
  expect(changed("other", "other")).toEqual(["./rm-1 digest"]);
});
