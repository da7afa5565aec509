/**
 * Runs that protect themselves, on a cluster: mutual TLS between the controller and the run's pods under an authority of the
 * run's own; and the weights are those of a run in plain text, bit for bit (D1).
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LearnerService } from "@oarlock/proto";
import { openChannel, type TlsOptions } from "@oarlock/rpc";
import { eventually, repositoryRoot } from "@oarlock/testkit";
import { type Cluster, clusterNeeds, NAMESPACE, startCluster } from "./cluster.ts";

const needs = clusterNeeds();

const run = (name: string, cluster: string): string => `apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: ${name} }
spec:
  seed: 5
  model:
    init:
      hiddenSize: 32
      intermediateSize: 64
      layers: 2
      heads: 2
      maxPositions: 32
      tokenizer: { type: characters, characters: { alphabet: "0123456789+=" } }
  stages:
    - name: grpo
      type: grpo
      grpo:
        data: { type: task, task: { name: addition, digits: 1 } }
        steps: 60
        promptsPerStep: 8
        groupSize: 8
        sampling: { maxNewTokens: 4 }
        rewards: [{ name: answer, type: exact }]
        optimizer: { learningRate: 4e-4 }
  checkpoints: { every: 1000 }
${cluster}`;

interface Run {
  readonly metadata: { readonly uid: string };
  readonly status?: { readonly progress?: { readonly step: number } };
}

interface Pods {
  readonly items: readonly { readonly status: { readonly podIP?: string } }[];
}

interface Secret {
  readonly metadata: { readonly name: string };
  readonly data: Readonly<Record<string, string>>;
}

describe.skipIf(needs.absent)(`a protected run${needs.note}`, () => {
  const folder = mkdtempSync(join(tmpdir(), "oarlock-security-"));
  let cluster: Cluster;
  let alone: string;
  const get = (name: string): Promise<Run> => cluster.plane.get<Run>(["-n", NAMESPACE, "trun", name]);
  const digestIn = (path: string): string =>
    createHash("sha256")
      .update(readFileSync(join(path, "final/model.safetensors")))
      .digest("hex");
  const start = async (name: string, fields: string): Promise<void> => {
    writeFileSync(join(folder, `${name}.yaml`), run(name, fields));
    await cluster.kubectl("apply", "-f", join(folder, `${name}.yaml`));
  };
  const learnerAddress = (name: string): Promise<string> =>
    eventually("the learner's pod to have an address", async () => {
      const selector = `oarlock.dev/run=${name},oarlock.dev/role=learner`;
      const { items } = await cluster.plane.get<Pods>(["-n", NAMESPACE, "pods", "-l", selector]);
      const ip = items[0]?.status.podIP;
      return ip === undefined ? undefined : `${ip}:50051`;
    });
  /** The step that the learner tells who calls it so. */
  const asked = async (address: string, tls?: TlsOptions): Promise<number> => {
    using channel = openChannel(address, tls === undefined ? {} : { tls });
    const { run: told } = await channel.client(LearnerService).getRunStatus({}, { timeoutMs: 3_000 });
    return told?.step ?? -1;
  };

  /** Waits until the garbage collector has taken what belonged to a run. */
  const gone = (name: string, kinds: string): Promise<true> =>
    eventually(
      `${kinds} of ${name} to go with it`,
      async () => {
        const left = await cluster.kubectl("get", kinds, "-l", `oarlock.dev/run=${name}`, "-o", "name");
        return left === "" ? true : undefined;
      },
      { timeoutMs: 90_000 },
    );

  beforeAll(async () => {
    cluster = await startCluster(folder);
    const file = join(folder, "alone.yaml");
    writeFileSync(file, run("alone", ""));
    alone = join(folder, "alone");
    const cli = join(repositoryRoot(), "apps/cli/bin/oarlock.js");
    execFileSync(process.execPath, [cli, "run", file, "--out", alone], { stdio: "pipe" });
  }, 240_000);
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  it("D1: mutual TLS by an authority of the run's own changes no bits, and lets nobody else in", async () => {
    await start("guarded", "  security: { tls: { type: runCA } }\n");
    await eventually(
      "the controller to hear of steps through TLS",
      async () => (((await get("guarded")).status?.progress?.step ?? 0) >= 3 ? true : undefined),
      { timeoutMs: 120_000 },
    );
    const address = await learnerAddress("guarded");
    const secrets = await cluster.plane.get<{ readonly items: readonly Secret[] }>([
      "-n",
      NAMESPACE,
      "secrets",
      "-l",
      "oarlock.dev/run=guarded",
    ]);
    expect(secrets.items).toHaveLength(1);
    const [cert = "", key = "", ca = ""] = ["tls.crt", "tls.key", "ca.crt"].map((file) =>
      Buffer.from(secrets.items[0]?.data[file] ?? "", "base64").toString(),
    );
    const serverName = `guarded-learner.${NAMESPACE}.svc`;
    expect(await asked(address, { cert, key, ca, serverName })).toBeGreaterThanOrEqual(3);
    const unreachable = { code: "RPC_UNAVAILABLE" };
    // Without a certificate, in plain text, and with a trusted one but under a name that the server's is not for.
    await expect(asked(address, { ca, serverName })).rejects.toMatchObject(unreachable);
    await expect(asked(address)).rejects.toMatchObject(unreachable);
    const elsewhere = { cert, key, ca, serverName: `other-learner.${NAMESPACE}.svc` };
    await expect(asked(address, elsewhere)).rejects.toMatchObject(unreachable);
    // The plain port is for probes alone.
    await expect(asked(address.replace(":50051", ":50052"))).rejects.toMatchObject({
      code: "RPC_UNIMPLEMENTED",
    });
    // The controller made the Secret and cannot read it.
    const as = "--as=system:serviceaccount:oarlock-system:oarlock-controller";
    const name = secrets.items[0]?.metadata.name ?? "";
    const read = await cluster.plane.kubectl(["-n", NAMESPACE, "get", "secret", name, as]);
    expect(read).toMatchObject({ code: 1, stderr: expect.stringContaining("forbidden") });

    const { uid } = (await get("guarded")).metadata;
    await cluster.kubectl("wait", "trun/guarded", "--for=condition=Complete", "--timeout=300s");
    expect(digestIn(join(cluster.volume, "runs", uid))).toBe(digestIn(alone));
    await cluster.kubectl("delete", "trun", "guarded", "--timeout=120s");
    await gone("guarded", "secrets,cm");
  }, 600_000);
});
