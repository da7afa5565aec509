/** Folders that cannot be made are refused at once, with the option, the value and the reason. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { expect, onTestFinished, test } from "vitest";
import { requireMakeable } from "./new-folder.ts";

function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "oarlock-new-folder-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

const refusal = async (folder: string): Promise<string> =>
  requireMakeable(folder, "--out").then(
    () => "",
    (reason: unknown) =>
      reason instanceof OarlockError ? reason.message : `no error of ours: ${String(reason)}`,
  );

test("a folder that can be made is accepted, however deep, and nothing is left", async () => {
  const root = emptyFolder();
  expect(await refusal(join(root, "a/b/c"))).toBe("");
  expect(await refusal(root)).toBe("");
  expect(readdirSync(root)).toEqual([]);
});

test("no path at all is not the working folder", async () => {
  expect(await refusal("")).toBe(
    '[FOLDER_IMPOSSIBLE] --out is "", as a variable that is not set leaves it; accepted: the path of a folder',
  );
});

test("a file in the way is named", async () => {
  const file = join(emptyFolder(), "file");
  writeFileSync(file, "");
  for (const folder of [file, join(file, "run"), join(file, "deep/run")]) {
    expect(await refusal(folder)).toContain(
      `[FOLDER_IMPOSSIBLE] --out ${folder} cannot be made: ${file} is a file`,
    );
  }
});

test.skipIf(process.getuid?.() === 0)("a folder that may not be written to is named", async () => {
  const closed = join(emptyFolder(), "closed");
  mkdirSync(closed);
  chmodSync(closed, 0o500);
  expect(await refusal(join(closed, "run"))).toContain(`${closed} may not be written to`);
});

test.skipIf(!existsSync("/proc/self"))(
  "a kernel's own file system is refused and not waited for",
  async () => {
    expect(await refusal("/proc/run")).toContain("--out /proc/run cannot be made: /proc takes no new folder");
  },
);
