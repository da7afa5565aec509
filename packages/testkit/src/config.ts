/** What the environment asks of the tests. The only reader of `process.env` in this package. */

/** Kinds of file that must be there, from `OARLOCK_REQUIRE` (comma list, e.g. `models,data`); CI names them all. */
export function requiredKinds(environment: NodeJS.ProcessEnv = process.env): ReadonlySet<string> {
  const listed = environment["OARLOCK_REQUIRE"] ?? "";
  return new Set(
    listed
      .split(",")
      .map((kind) => kind.trim())
      .filter((kind) => kind !== ""),
  );
}

/** Folders with programs. */
export function searchPath(environment: NodeJS.ProcessEnv = process.env): string {
  return environment["PATH"] ?? "";
}

/** Folder of the binaries of a control plane, by setup-envtest's convention. */
export function kubeAssets(environment: NodeJS.ProcessEnv = process.env): string | undefined {
  return environment["KUBEBUILDER_ASSETS"];
}

/** The environment that programs started by tests inherit. */
export function inheritedEnvironment(): NodeJS.ProcessEnv {
  return { ...process.env };
}
