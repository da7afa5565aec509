/** Two controllers, one leads: another takes over when it goes, in order, by a crash, or frozen; and what lost the lead exits. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connect, type Connection } from "@oarlock/kube";
import { type ControlPlane, findKube, repositoryRoot, startControlPlane } from "@oarlock/testkit";
import { type Candidate, failOver, leaderOf, startCandidate } from "./candidates.ts";

const kube = findKube(["etcd", "kube-apiserver", "kubectl"]);
/** Short, so that a test has the time; `npm run bench -- kube.` measures the default. */
const LEASE_SECONDS = 3;

describe.skipIf(kube.absent)(`the lead${kube.note}`, () => {
  let plane: ControlPlane;
  let connection: Connection;
  const candidates: Candidate[] = [];
  const start = async (identity: string): Promise<Candidate> => {
    const candidate = await startCandidate(plane, identity, {
      OARLOCK_LEASE_SECONDS: String(LEASE_SECONDS),
    });
    candidates.push(candidate);
    return candidate;
  };

  beforeAll(async () => {
    plane = await startControlPlane();
    connection = connect({ kubeconfig: plane.kubeconfig() });
    await plane.kubectl(["apply", "-k", join(repositoryRoot(), "deploy/k8s/crds")]);
    await plane.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=20s"]);
  }, 120_000);
  afterAll(async () => {
    for (const candidate of candidates) await candidate.kill();
    connection?.close();
    await plane?.[Symbol.asyncDispose]();
  });

  it("passes on when its holder ends in order or is killed, and whoever lost it exits", async () => {
    const one = await start("one");
    expect((await leaderOf([one])).identity).toBe("one");
    const two = await start("two");
    expect(await two.leads()).toBe(false);

    const orderly = await failOver(connection, { name: "orderly", end: () => void one.stop(), next: two });
    expect(await one.ended).toBe(0);

    const three = await start("three");
    expect(await three.leads()).toBe(false);
    const killed = await failOver(connection, { name: "killed", end: () => void two.kill(), next: three });
    // A lead that was given back need not run out.
    expect(orderly.leadSeconds).toBeLessThan(killed.leadSeconds);

    const four = await start("four");
    const frozen = await failOver(connection, {
      name: "frozen",
      end: () => process.kill(three.pid, "SIGSTOP"),
      next: four,
    });
    expect(frozen.statusSeconds).toBeGreaterThan(0);
    process.kill(three.pid, "SIGCONT");
    expect(await three.ended).toBe(1);
    expect(three.output()).toContain("KUBE_LEAD_LOST");
    expect(await four.leads()).toBe(true);
  }, 180_000);
});
