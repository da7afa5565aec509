/** The version of this package. */
import { createRequire } from "node:module";

export function oarlockVersion(): string {
  const manifest: unknown = createRequire(import.meta.url)("@oarlock/cli/package.json");
  const version: unknown =
    typeof manifest === "object" && manifest !== null && "version" in manifest ? manifest.version : "";
  return typeof version === "string" ? version : "";
}
