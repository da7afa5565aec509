/** Folders that live as long as one test, or as the tests of a suite. */
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, onTestFinished } from "vitest";

/** A new empty folder that is removed, with all that is in it, when the running test ends. */
export function temporaryFolder(label = "test"): string {
  const folder = mkdtempSync(join(tmpdir(), `oarlock-${label}-`));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * The folder that the tests of the file or `describe` it is called in share: made before the first of them, removed after the
 * last. Where all of them are skipped there is none: what a body makes when it is collected, nobody removes.
 */
export function suiteFolder(label = "suite"): string {
  const folder = join(tmpdir(), `oarlock-${label}-${randomUUID().slice(0, 8)}`);
  beforeAll(() => mkdirSync(folder, { mode: 0o700 }));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
