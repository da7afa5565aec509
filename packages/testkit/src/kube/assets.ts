/**
 * Where the binaries of a Kubernetes control plane are: `KUBEBUILDER_ASSETS` (setup-envtest's convention), else PATH, else
 * an archive beside the repository, unpacked once into a cache folder. Knows nothing of how they are started.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, delimiter, join, resolve } from "node:path";
import { OarlockError } from "@oarlock/errors";
import { kubeAssets, requiredKinds, searchPath } from "../config.ts";
import { repositoryRoot } from "../require-file.ts";

/** What a test may ask for. setup-envtest has the first three only; the others run pods' owners and place pods. */
const KUBE_BINARIES = [
  "etcd",
  "kube-apiserver",
  "kubectl",
  "kube-controller-manager",
  "kube-scheduler",
] as const;
export type KubeBinary = (typeof KUBE_BINARIES)[number];

const KIND = "kube";
const ARCHIVES = "../shared/kube";
const ARCHIVE = /^kubernetes-.*-linux-amd64\.tar\.xz$/;

/** Binaries that were found, or why the tests that need them are skipped. */
export interface KubeAssets {
  readonly absent: boolean;
  /** " (skipped: …)" or "": to append to the title of a suite. */
  readonly note: string;
  /** Absolute path of a binary; throws where it is absent. */
  path(binary: KubeBinary): string;
}

/** Looks for the binaries; throws where they are absent and `OARLOCK_REQUIRE` names `kube`. */
export function findKube(needed: readonly KubeBinary[] = KUBE_BINARIES): KubeAssets {
  const found = locate(needed);
  const missing = needed.filter((binary) => !found.has(binary));
  if (missing.length > 0 && requiredKinds().has(KIND)) {
    throw new OarlockError(
      "TESTKIT_KUBE_ABSENT",
      `${missing.join(", ")} absent, and OARLOCK_REQUIRE demands ${KIND}: set KUBEBUILDER_ASSETS to a folder with them`,
    );
  }
  return {
    absent: missing.length > 0,
    note: missing.length > 0 ? ` (skipped: ${missing.join(", ")} absent; set KUBEBUILDER_ASSETS)` : "",
    path(binary) {
      const path = found.get(binary);
      if (path === undefined)
        throw new OarlockError("TESTKIT_KUBE_ABSENT", `${binary} was not found or not asked for`);
      return path;
    },
  };
}

function locate(needed: readonly KubeBinary[]): Map<KubeBinary, string> {
  const assets = kubeAssets();
  const folders = [...(assets === undefined ? [] : [assets]), ...searchPath().split(delimiter)];
  const inFolders = find(needed, folders);
  if (inFolders.size === needed.length) return inFolders;
  const unpacked = unpackArchive();
  return unpacked === undefined ? inFolders : find(needed, [...folders, unpacked]);
}

function find(needed: readonly KubeBinary[], folders: readonly string[]): Map<KubeBinary, string> {
  const found = new Map<KubeBinary, string>();
  for (const binary of needed) {
    const path = folders.map((folder) => join(folder, binary)).find((candidate) => existsSync(candidate));
    if (path !== undefined) found.set(binary, path);
  }
  return found;
}

/** The folder with the archive's binaries. Unpacking goes to a new folder that is renamed whole: parallel tests may race. */
function unpackArchive(): string | undefined {
  const folder = resolve(repositoryRoot(), ARCHIVES);
  const archive = existsSync(folder) ? readdirSync(folder).find((name) => ARCHIVE.test(name)) : undefined;
  if (archive === undefined) return undefined;
  const file = join(folder, archive);
  const cache = join(tmpdir(), "oarlock-cache");
  const target = join(cache, `${basename(archive, ".tar.xz")}-${statSync(file).size}`);
  if (existsSync(target)) return target;
  mkdirSync(cache, { recursive: true });
  const partial = mkdtempSync(join(cache, "unpack-"));
  execFileSync("tar", ["xJf", file, "-C", partial]);
  try {
    renameSync(partial, target);
  } catch {
    // Another process was first: its folder is whole, since it was renamed too.
    rmSync(partial, { recursive: true, force: true });
  }
  return target;
}
