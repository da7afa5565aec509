/** What the environment asks of the tests. The only reader of `process.env` in this package. */

import { OarlockError } from "@oarlock/errors";

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

/** Execution providers that the tests of the compute core can be run on. */
const PROVIDERS = ["cpu", "cuda", "webgpu"] as const;

/**
 * The engine that the tests of the compute core open: `OARLOCK_TEST_PROVIDER` names another provider than the CPU's, so that a
 * machine with a card runs on it what every machine runs on its processor. @throws OarlockError `TESTKIT_NO_PROVIDER`
 */
export function testedEngine(environment: NodeJS.ProcessEnv = process.env): {
  readonly provider: (typeof PROVIDERS)[number];
} {
  const named = environment["OARLOCK_TEST_PROVIDER"] ?? "cpu";
  const provider = PROVIDERS.find((known) => known === named);
  if (provider !== undefined) return { provider };
  throw new OarlockError(
    "TESTKIT_NO_PROVIDER",
    `OARLOCK_TEST_PROVIDER is ${JSON.stringify(named)}; accepted: ${PROVIDERS.join(", ")}`,
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
