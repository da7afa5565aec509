/**
 * Files that lie beside the repository and that a test may need: absent on a user's machine (the test is skipped and
 * says so), demanded in CI (the test fails). Knows nothing of what the files hold.
 */
import { existsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { OarlockError } from "@oarlock/errors";
import { requiredKinds } from "./config.ts";

/** A file that a test wants, found or not. */
export interface WantedFile {
  /** Absolute. */
  readonly path: string;
  readonly exists: boolean;
  /** For `describe.skipIf(file.absent)`. */
  readonly absent: boolean;
  /** " (skipped: … is absent)" or "": to append to the title of a suite, so that a skip says why. */
  readonly note: string;
}

export interface RequireFileOptions {
  /** Folder that the path is relative to. Default: the root of the repository. */
  readonly root?: string;
  /** Kinds that must be there. Default: those of `OARLOCK_REQUIRE`. */
  readonly required?: ReadonlySet<string>;
}

/**
 * Looks for a file or folder beside the repository, e.g. `requireFile("models", "../shared/models/stories260K/hf")`.
 * Throws `TESTKIT_FILE_ABSENT` where it is absent and `OARLOCK_REQUIRE` names its kind.
 */
export function requireFile(
  kind: string,
  relativePath: string,
  options: RequireFileOptions = {},
): WantedFile {
  const path = resolve(options.root ?? repositoryRoot(), relativePath);
  if (existsSync(path)) return { path, exists: true, absent: false, note: "" };
  if ((options.required ?? requiredKinds()).has(kind)) {
    throw new OarlockError(
      "TESTKIT_FILE_ABSENT",
      `${relativePath} is absent, and OARLOCK_REQUIRE demands files of kind ${JSON.stringify(kind)}`,
    );
  }
  return { path, exists: false, absent: true, note: ` (skipped: ${relativePath} is absent)` };
}

/** The folder of the workspace's root package. */
export function repositoryRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "turbo.json")) || !existsSync(join(folder, "package-lock.json"))) {
    const parent = dirname(folder);
    if (parent === folder) {
      throw new OarlockError("TESTKIT_NO_ROOT", "this copy of the test kit lies outside of the repository");
    }
    folder = parent;
  }
  return folder;
}
