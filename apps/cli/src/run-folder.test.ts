/** Which folders a new run takes, and what it says of one that it does not. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { temporaryFolder } from "@oarlock/testkit";
import { expect, test } from "vitest";
import { createRunFolder } from "./run-folder.ts";
import { CLAIM_PREFIX, RUNNING_FOLDER } from "./running-mark.ts";

/** A folder with these in it; a name that ends in a slash is a folder. */
function folderWith(...names: readonly string[]): string {
  const folder = temporaryFolder("run-folder");
  for (const name of names) {
    if (name.endsWith("/")) mkdirSync(join(folder, name), { recursive: true });
    else writeFileSync(join(folder, name), "of somebody");
  }
  return folder;
}

const MARKS = [`${RUNNING_FOLDER}/`, `${CLAIM_PREFIX}a1/`];

test.each([
  { names: [] },
  { names: ["tensorboard/"] },
  { names: ["tensorboard/", ...MARKS, "run.yaml", "run.yaml.tmp", "plan.json.tmp"] },
])(
  "a folder is taken that is empty, or of a run that broke off before its plan: $names",
  async ({ names }) => {
    const { folder, tensorboard } = await createRunFolder(folderWith(...names));
    expect(existsSync(join(folder, "tensorboard"))).toBe(true);
    expect(tensorboard).toBe(join(folder, "tensorboard"));
  },
);

test.each([
  { names: ["photo.jpg"] },
  { names: ["run.yaml"] },
  { names: [`${RUNNING_FOLDER}/`] },
  { names: ["tensorboard"] },
  { names: ["tensorboard/", "metrics.jsonl"] },
  { names: ["tensorboard/other run/", "run.yaml"] },
])(
  "one that may hold anything else is refused, without a hint that would not work: $names",
  async ({ names }) => {
    const folder = folderWith(...names);
    await expect(createRunFolder(folder)).rejects.toThrow(/is not empty: choose another --out$/);
    if (names.includes("run.yaml"))
      expect(readFileSync(join(folder, "run.yaml"), "utf8")).toBe("of somebody");
  },
);

test("one with a plan may be resumed", async () => {
  const folder = folderWith("tensorboard/", "run.yaml", "plan.json");
  await expect(createRunFolder(folder)).rejects.toThrow(`or \`oarlock resume ${folder}\``);
});
