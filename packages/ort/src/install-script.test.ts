/**
 * onnxruntime-node's install script fetches a CUDA build of hundreds of megabytes that nothing uses, and fails where NuGet
 * is out of reach. npm runs the scripts of packages that the lock file marks, unless `allowScripts` forbids it, which
 * npm 10 does not know. The library itself comes with the package.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const read = (name: string): Record<string, Record<string, unknown>> =>
  JSON.parse(readFileSync(join(import.meta.dirname, "../../..", name), "utf8")) as never;

test("no npm runs the install script of onnxruntime-node", () => {
  const locked = read("package-lock.json")["packages"]?.["node_modules/onnxruntime-node"];
  expect(locked).toHaveProperty("version");
  // npm sets it when the package changes: delete the line again.
  expect(locked).not.toHaveProperty("hasInstallScript");
  expect(read("package.json")["allowScripts"]).toHaveProperty("onnxruntime-node", false);
});
