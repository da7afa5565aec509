/**
 * What the tests on a real node need and may lack: root, cgroup v1 controllers, Debian's buildah, runc, containerd,
 * CNI plug-ins and iptables, Go to build CoreDNS, and the kubelet beside the repository. `OARLOCK_REQUIRE=node` turns a lack into a failure.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  findKube,
  findProgram,
  programFolders,
  requiredKinds,
  requireNatsServer,
  unpackedArchive,
} from "@oarlock/testkit";

const PROGRAMS = [
  "buildah",
  "containerd",
  "ctr",
  "runc",
  "iptables",
  "unshare",
  "nsenter",
  "dpkg-deb",
  "apt-get",
  "go",
];
const SYSTEM_FOLDERS = ["/usr/sbin", "/sbin"];
const ARCHIVE = { folder: "../shared/kube", pattern: /^node-.*-linux-amd64\.tar\.xz$/ } as const;

export interface NodeNeeds {
  readonly absent: boolean;
  /** " (skipped: …)" or "": to append to the title of a suite. */
  readonly note: string;
  /** Folder with kubelet, kube-proxy and pause. */
  readonly programs: string;
}

/** Looks for all of it; throws where something is absent and demanded. */
export function nodeNeeds(): NodeNeeds {
  const [kube, nats] = [findKube(), requireNatsServer()];
  const missing = [...missingHere()];
  const programs = unpackedArchive(ARCHIVE);
  if (programs === undefined) missing.push(`the kubelet of ${ARCHIVE.folder}`);
  if (missing.length > 0 && requiredKinds().has("node"))
    throw new Error(`OARLOCK_REQUIRE demands node, and ${missing.join(", ")} is absent`);
  const note = missing.length > 0 ? ` (skipped: ${missing.join(", ")} absent)` : "";
  return {
    absent: kube.absent || nats.absent || missing.length > 0,
    note: kube.note + nats.note + note,
    programs: programs ?? "",
  };
}

function* missingHere(): Generator<string> {
  if (process.getuid?.() !== 0) yield "root";
  if (!existsSync("/sys/fs/cgroup/memory")) yield "cgroup v1 controllers";
  if (!existsSync("/usr/lib/cni/bridge")) yield "CNI plug-ins";
  const folders = [...programFolders(), ...SYSTEM_FOLDERS];
  for (const name of PROGRAMS) if (findProgram(name, folders) === undefined) yield name;
}

/** kubelet and its friends. */
export function nodeProgram(needs: NodeNeeds, name: string): string {
  return join(needs.programs, name);
}
