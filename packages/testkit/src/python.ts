/** Python, for tests of scorers in another language: absent it skips loudly, as files do. */
import { OarlockError } from "@oarlock/errors";
import { requiredKinds } from "./config.ts";
import { findProgram } from "./programs.ts";
import type { WantedFile } from "./require-file.ts";

/** python3 on the PATH; kind "python". */
export function requirePython(): WantedFile {
  const path = findProgram("python3");
  if (path !== undefined) return { path, exists: true, absent: false, note: "" };
  const why = "no python3 on the PATH";
  if (requiredKinds().has("python")) throw new OarlockError("TESTKIT_TOOL_ABSENT", why);
  return { path: "", exists: false, absent: true, note: ` (skipped: ${why})` };
}
