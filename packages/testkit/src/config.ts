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

/** Where to look for binaries: setup-envtest's folder, and the search path. */
export function searchPath(environment: NodeJS.ProcessEnv = process.env): {
  readonly assets: string | undefined;
  readonly path: string;
} {
  return { assets: environment["KUBEBUILDER_ASSETS"], path: environment["PATH"] ?? "" };
}
