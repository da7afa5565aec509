/** How long runs are unlooked at when the controller that leads goes: two controllers, a real API server, the default lease. */
import { join } from "node:path";
import { connect } from "@oarlock/kube";
import { findKube, repositoryRoot, startControlPlane } from "@oarlock/testkit";
import { type Candidate, failOver, leaderOf, startCandidate } from "../kube/candidates.ts";
import { type BenchRow, median, type SkippedRow } from "./row.ts";

const TIMES = 3;
/** Of a controller that is told nothing else. */
const LEASE_SECONDS = 15;
const ENDS: Readonly<Record<string, (leader: Candidate) => Promise<void>>> = {
  graceful: (leader) => leader.stop(),
  killed: (leader) => leader.kill(),
};

export async function rows(): Promise<readonly (BenchRow | SkippedRow)[]> {
  const kube = findKube(["etcd", "kube-apiserver", "kubectl"]);
  if (kube.absent) return [{ name: "kube.fail_over", skipped: kube.note }];
  await using plane = await startControlPlane();
  await plane.kubectl(["apply", "-k", join(repositoryRoot(), "deploy/k8s/crds")]);
  await plane.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=20s"]);
  const connection = connect({ kubeconfig: plane.kubeconfig() });
  let number = 0;
  const start = (): Promise<Candidate> =>
    startCandidate(plane, `controller-${number++}`, { OARLOCK_LEASE_SECONDS: String(LEASE_SECONDS) });
  let leader = await leaderOf([await start()]);
  const measured: BenchRow[] = [];
  try {
    for (const [how, end] of Object.entries(ENDS)) {
      const times = [];
      for (let time = 0; time < TIMES; time++) {
        const next = await start();
        const ending = leader;
        times.push(await failOver(connection, { name: `${how}-${time}`, end: () => void end(ending), next }));
        await ending.ended;
        leader = next;
      }
      measured.push(
        row(
          `kube.fail_over.${how}.lead`,
          times.map(({ leadSeconds }) => leadSeconds),
        ),
        row(
          `kube.fail_over.${how}.status`,
          times.map(({ statusSeconds }) => statusSeconds),
        ),
      );
    }
    return measured;
  } finally {
    await leader.kill();
    connection.close();
  }
}

function row(name: string, seconds: readonly number[]): BenchRow {
  return {
    name,
    value: median(seconds),
    unit: "s",
    relative_to: "lease",
    ratio: median(seconds) / LEASE_SECONDS,
  };
}
