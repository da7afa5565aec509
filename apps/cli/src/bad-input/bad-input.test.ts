/**
 * X1: wrong run files, models and data sets get a clear error that names the file, line or field, the value, and what
 * would be accepted. docs/bad-input.md is this table; `vitest -u` writes it anew.
 */
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { saveModel } from "@oarlock/models";
import { scoreWeights, withScoreHead } from "@oarlock/nn";
import type { ResolvedModel } from "@oarlock/runfile";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openModel } from "@oarlock/workload";
import { prepare, refuseProblems } from "../prepare.ts";
import { recordingTerminal } from "../terminal.ts";
import { DATA_CASES } from "./cases-data.ts";
import { type BadInput, GOOD_RUN, MODEL_CASES, RUN_FILE_CASES, TRAP_CASES } from "./cases.ts";

const MODEL: Extract<ResolvedModel, { init: unknown }> = {
  init: {
    architecture: "llama",
    hiddenSize: 16,
    intermediateSize: 32,
    layers: 1,
    heads: 2,
    kvHeads: 2,
    headSize: 8,
    maxPositions: 32,
    ropeTheta: 10_000,
    ropeConvention: "half-split",
    rmsNormEps: 1e-5,
    tiedEmbeddings: true,
    qkvBias: false,
    qkNorm: false,
    tokenizer: { type: "characters", characters: { alphabet: "0123456789+=" } },
  },
};

let folder = "";
const errors = new Map<string, string>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "oarlock-bad-input-"));
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

/** The error that a case gets from what `oarlock validate` does, without the temporary folder's name. */
async function errorOf(bad: BadInput): Promise<string> {
  const base = await mkdtemp(join(folder, "case-"));
  const changed = (bad.change ?? []).reduce((run, [what, instead]) => {
    if (!run.includes(what)) throw new Error(`${bad.title}: nothing to change: ${what}`);
    return run.replace(what, instead);
  }, GOOD_RUN);
  const run = join(base, "run.yaml");
  await writeFile(run, bad.text ?? changed);
  for (const [name, content] of Object.entries(bad.files ?? {})) await writeFile(join(base, name), content);
  if (bad.model !== undefined) await writeModel(join(base, "model"), bad.model);
  if (bad.scorer !== undefined) await writeScorer(join(base, "scorer"), bad.scorer);
  try {
    refuseProblems((await prepare(run, bad.set ?? [])).plan, recordingTerminal());
  } catch (reason) {
    if (!(reason instanceof OarlockError)) throw reason;
    return reason.message.replaceAll(`${base}/`, "").replaceAll(base, ".");
  }
  return "accepted";
}

async function writeScorer(target: string, changes: NonNullable<BadInput["scorer"]>): Promise<void> {
  const { maxPositions = 32, alphabet = "0123456789+=" } = changes;
  const tokenizer = { type: "characters", characters: { alphabet } } as const;
  const model = await openModel(
    { init: { ...MODEL.init, maxPositions, tokenizer } },
    { baseDir: folder, seed: 0 },
  );
  const config = withScoreHead(model.config);
  const weights = scoreWeights({ config: model.config, weights: await model.weights() });
  const { specials, tokenizerFiles } = model;
  await saveModel(target, { config, specials, tokenizer: tokenizerFiles, weights });
}

async function writeModel(target: string, changes: NonNullable<BadInput["model"]>): Promise<void> {
  const model = await openModel(MODEL, { baseDir: folder, seed: 0 });
  const { config, specials, tokenizerFiles: tokenizer } = model;
  await mkdir(dirname(target), { recursive: true });
  await saveModel(target, { config, specials, tokenizer, weights: await model.weights() });
  for (const [name, change] of Object.entries(changes)) {
    const path = join(target, name);
    if (change === null) await rm(path);
    else await writeFile(path, change(await readFile(path)));
  }
}

const SECTIONS: readonly (readonly [string, readonly BadInput[]])[] = [
  ["Run files", RUN_FILE_CASES],
  ["Traps", TRAP_CASES],
  ["Models", MODEL_CASES],
  ["Data and reward functions", DATA_CASES],
];

describe.each(SECTIONS)("X1: %s", (_section, cases) => {
  it.each(cases.map((bad) => [bad.title, bad] as const))("%s", async (title, bad) => {
    const error = await errorOf(bad);
    errors.set(title, error);
    for (const part of bad.says) expect(error).toContain(part);
    expect(error).toMatch(/^\[[A-Z][A-Z0-9_]+\] ./);
    expect(error).toMatch(/\brun\.yaml(:\d+:\d+)?: |--set\b/);
    expect(error).not.toContain("undefined");
  });
});

it("accepts the run file that the cases change", async () => {
  expect(await errorOf({ title: "good", says: [] })).toBe("accepted");
});

it("docs/bad-input.md is this table", async () => {
  const sections = SECTIONS.map(([title, cases]) => {
    const rows = cases.map(
      (bad) => `### ${capital(bad.title)}\n\n${changeOf(bad)}\`\`\`text\n${errors.get(bad.title)}\n\`\`\`\n`,
    );
    return `## ${title}\n\n${rows.join("\n")}`;
  });
  const count = SECTIONS.reduce((sum, [, cases]) => sum + cases.length, 0);
  const head = `# Bad input\n\n${count} wrong run files, models and data sets, and the error that each gets from \`oarlock validate\`, \`plan\` and \`run\`. Written by\n\`npx vitest run --project unit apps/cli/src/bad-input -u\`; CI fails where it is out of date.\n`;
  await expect(`${head}\n${sections.join("\n")}`).toMatchFileSnapshot("../../../../docs/bad-input.md");
});

const capital = (words: string) => words.charAt(0).toUpperCase() + words.slice(1);

function changeOf({ set }: BadInput): string {
  return set === undefined ? "" : `${set.map((one) => `\`--set '${one}'\``).join(" ")}\n\n`;
}
