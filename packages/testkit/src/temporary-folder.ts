/** Folders that live as long as one test. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** A new empty folder that is removed, with all that is in it, when the running test ends. */
export function temporaryFolder(label = "test"): string {
  const folder = mkdtempSync(join(tmpdir(), `oarlock-${label}-`));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
