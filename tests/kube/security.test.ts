/**
 * Runs that protect themselves, on a cluster: mutual TLS between the controller and the run's pods under an authority of the
 * run's own, a message server of the run's own, or one that asks for certificates and keeps the run folder, volumes that are
 * only read, a hub that asks for a token; and the weights are those of one process, bit for bit (D1).
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectJetStreamBus, startNatsServer } from "@oarlock/bus";
import { LearnerService } from "@oarlock/proto";
import { parseSamples } from "@oarlock/report";
import { openChannel, type TlsOptions } from "@oarlock/rpc";
import {
  eventually,
  type ProcessKubelet,
  repositoryRoot,
  requireNatsServer,
  startFakeHub,
  suiteFolder,
} from "@oarlock/testkit";
import {
  type Cluster,
  clusterNeeds,
  learnerAddress,
  NAMESPACE,
  pauseLearner,
  startCluster,
} from "./cluster.ts";
import { finalDigest, kubectlOarlock, oarlockHere } from "../one-process.ts";
import { tinyModel } from "../tiny-model.ts";
import { writeTinyScorer } from "../tiny-scorer.ts";

const needs = clusterNeeds();
const NODE_GRACE_SECONDS = 10;

const run = (name: string, cluster: string): string => `apiVersion: oarlock.dev/v1alpha1
kind: TrainingRun
metadata: { name: ${name} }
spec:
  seed: 5
  model: ${tinyModel(32)}
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

const REWARD = `import { defineReward } from "@oarlock/rewards";
export const reward = defineReward(({ completion, row }) => (completion === String(row["answer"]) ? 1 : 0));
`;

interface Run {
  readonly metadata: { readonly uid: string };
  readonly status?: {
    readonly progress?: { readonly step: number };
    readonly roles?: readonly { readonly name: string; readonly restarts: number }[];
  };
}

interface Pods {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly status: { readonly podIP?: string; readonly phase?: string };
  }[];
}

interface Secret {
  readonly metadata: { readonly name: string };
  readonly data: Readonly<Record<string, string>>;
}

describe.skipIf(needs.absent)(`a protected run${needs.note}`, () => {
  const folder = suiteFolder("security");
  let cluster: Cluster;
  let alone: string;
  const get = (name: string): Promise<Run> => cluster.plane.get<Run>(["-n", NAMESPACE, "trun", name]);
  const start = async (name: string, fields: string): Promise<void> => {
    writeFileSync(join(folder, `${name}.yaml`), run(name, fields));
    await cluster.kubectl("apply", "-f", join(folder, `${name}.yaml`));
  };
  /** The Secrets with a certificate for the pods of a run. */
  const certificatesOf = async (name: string): Promise<readonly Secret[]> => {
    const args = ["-n", NAMESPACE, "secrets", "-l", `oarlock.dev/run=${name}`];
    const { items } = await cluster.plane.get<{ readonly items: readonly Secret[] }>(args);
    return items.filter(({ data }) => data["tls.crt"] !== undefined);
  };
  /** As a pod of the run calls its learner. */
  const clientOf = (name: string, secret: Secret | undefined) => {
    const [cert = "", key = "", ca = ""] = ["tls.crt", "tls.key", "ca.crt"].map((file) =>
      Buffer.from(secret?.data[file] ?? "", "base64").toString(),
    );
    return { cert, key, ca, serverName: `${name}-learner.${NAMESPACE}.svc` };
  };
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
    const file = join(folder, "alone.yaml");
    writeFileSync(file, run("alone", ""));
    alone = join(folder, "alone");
    // Before there is a node: it would not be heard meanwhile.
    oarlockHere("run", file, "--out", alone);
    cluster = await startCluster(folder, { nodeGraceSeconds: NODE_GRACE_SECONDS });
  }, 240_000);
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
  }, 60_000);

  it("D1: mutual TLS by an authority of the run's own changes no bits, and lets nobody else in", async () => {
    await start("guarded", "  security: { tls: { type: runCA } }\n");
    await eventually(
      "the controller to hear of steps through TLS",
      async () => (((await get("guarded")).status?.progress?.step ?? 0) >= 3 ? true : undefined),
      { timeoutMs: 120_000 },
    );
    const address = await learnerAddress(cluster, "guarded");
    const secrets = await certificatesOf("guarded");
    expect(secrets).toHaveLength(1);
    const own = clientOf("guarded", secrets[0]);
    const { ca } = own;
    // Not through before its certificate is renewed.
    await pauseLearner(address, own);
    expect(await asked(address, own)).toBeGreaterThanOrEqual(3);
    const unreachable = { code: "RPC_UNAVAILABLE" };
    // Without a certificate, in plain text, and with a trusted one but under a name that the server's is not for.
    await expect(asked(address, { ca, serverName: own.serverName })).rejects.toMatchObject(unreachable);
    await expect(asked(address)).rejects.toMatchObject(unreachable);
    const elsewhere = { ...own, serverName: `other-learner.${NAMESPACE}.svc` };
    await expect(asked(address, elsewhere)).rejects.toMatchObject(unreachable);
    // The plain port is for probes alone.
    await expect(asked(address.replace(":50051", ":50052"))).rejects.toMatchObject({
      code: "RPC_UNIMPLEMENTED",
    });
    // The controller made the Secret and cannot read it.
    const as = "--as=system:serviceaccount:oarlock-system:oarlock-controller";
    const name = secrets[0]?.metadata.name ?? "";
    const read = await cluster.plane.kubectl(["-n", NAMESPACE, "get", "secret", name, as]);
    expect(read).toMatchObject({ code: 1, stderr: expect.stringContaining("forbidden") });

    // It is renewed under way, since a third of a longer life is more than it has left; the old one goes when its pods have gone.
    const longer = { spec: { security: { tls: { runCA: { validDays: 365 } } } } };
    await cluster.kubectl("patch", "trun", "guarded", "--type=merge", "-p", JSON.stringify(longer));
    const renewed = async (): Promise<true | undefined> => {
      const names = (await certificatesOf("guarded")).map(({ metadata }) => metadata.name);
      return names.length === 1 && names[0] !== name ? true : undefined;
    };
    await eventually("another certificate alone", renewed, { timeoutMs: 120_000 });

    const { uid } = (await get("guarded")).metadata;
    await cluster.kubectl("wait", "trun/guarded", "--for=condition=Complete", "--timeout=300s");
    expect(finalDigest(join(cluster.volume, "runs", uid))).toBe(finalDigest(alone));
    await cluster.kubectl("delete", "trun", "guarded", "--timeout=120s");
    await gone("guarded", "secrets,cm");
  }, 600_000);

  it("D1: a message server of the run's own, with TLS: restarted, suspended and resumed, and gone with the run", async () => {
    await start("own", "  nats: { managed: { size: 1Gi } }\n  security: { tls: { type: runCA } }\n");
    const reach = (least: number) =>
      eventually(
        `step ${least}`,
        async () => (((await get("own")).status?.progress?.step ?? 0) >= least ? true : undefined),
        { timeoutMs: 120_000 },
      );
    await reach(3);
    const { uid } = (await get("own")).metadata;
    // Nothing of it is on the cluster's server.
    const stored = readdirSync(join(folder, "nats"), { recursive: true, encoding: "utf8" });
    expect(stored.filter((path) => path.includes(uid))).toEqual([]);
    const server = await cluster.plane.get<Pods["items"][number]>(["-n", NAMESPACE, "pod", "own-nats-0"]);
    const url = `tls://${server.status.podIP}:4222`;
    await expect(connectJetStreamBus({ servers: url, connectTimeoutMs: 3_000 })).rejects.toMatchObject({
      code: "BUS_REFUSED",
    });

    // Its pod goes; the streams are on the claim, and the run goes on with another pod at another address.
    await cluster.kubectl("delete", "pod", "own-nats-0", "--wait=false");
    await reach(12);
    await pauseLearner(
      await learnerAddress(cluster, "own"),
      clientOf("own", (await certificatesOf("own"))[0]),
    );
    await cluster.kubectl("patch", "trun", "own", "--type=merge", "-p", '{"spec":{"suspend":true}}');
    await cluster.kubectl("wait", "trun/own", "--for=condition=Suspended", "--timeout=120s");
    await eventually("the server's pod to go too", async () => {
      const { code } = await cluster.plane.kubectl(["-n", NAMESPACE, "get", "pod", "own-nats-0"]);
      return code === 0 ? undefined : true;
    });
    await cluster.kubectl("patch", "trun", "own", "--type=merge", "-p", '{"spec":{"suspend":false}}');
    await cluster.kubectl("wait", "trun/own", "--for=condition=Complete", "--timeout=300s");
    expect(finalDigest(join(cluster.volume, "runs", uid))).toBe(finalDigest(alone));
    // Nobody's fault: no failure of the learner was counted.
    expect((await get("own")).status?.roles?.find(({ name }) => name === "learner")?.restarts).toBe(0);

    await cluster.kubectl("delete", "trun", "own", "--timeout=120s");
    await gone("own", "secrets,cm,sts,svc,pvc,netpol,sa,deploy,job,rpool,pdb");
    const described = await cluster.kubectl(
      "get",
      "events",
      "--field-selector=reason=StreamsLeft",
      "-o",
      "name",
    );
    expect(described).toBe("");
  }, 600_000);

  it("D1: a learner that is lost with its node goes on from what a message server keeps, reached by mutual TLS", async () => {
    const certificate = (file: string): string => join(repositoryRoot(), "packages/rpc/src/fixtures", file);
    const { path } = requireNatsServer();
    const files = { cert_file: "server.crt", key_file: "server.key", ca_file: "ca.crt" };
    const named = Object.entries(files).map(
      ([field, file]) => `${field}: ${JSON.stringify(certificate(file))}`,
    );
    const configuration = `tls { ${named.join(", ")}, verify: true }\nauthorization { user: me, password: "s3cret,%" }`;
    const server = await startNatsServer({ path, folder: join(folder, "tls-nats"), configuration });
    try {
      const url = server.url.replace("nats://", "tls://me:s3cret%2C%25@");
      const own = { "ca.crt": "ca.crt", "tls.crt": "client.crt", "tls.key": "client.key" };
      const from = Object.entries(own).map(([key, file]) => `--from-file=${key}=${certificate(file)}`);
      from.push(`--from-literal=url=${url}`);
      await cluster.kubectl("create", "secret", "generic", "nats-client", ...from);
      const address = "urlSecretRef: { name: nats-client, key: url }";
      const nats = `  nats: { ${address}, tls: { secretName: nats-client, clientCertificate: true } }\n`;
      const storage = "  storage: { type: objectStore, objectStore: { size: 16Mi } }\n";
      const taint = "key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute";
      const roles = ["learner", "actor", "reward"].map(
        (role) => `    - { name: ${role}, tolerations: [{ ${taint}, tolerationSeconds: 3 }] }\n`,
      );
      const text = run("kept", `${nats}${storage}  roles:\n${roles.join("")}`).replace(
        "every: 1000",
        "every: 2",
      );
      // All of the run is placed on a node that will be lost.
      const machine = await cluster.addNode("machine");
      await cluster.kubectl("cordon", "processes");
      writeFileSync(join(folder, "kept.yaml"), text);
      await cluster.kubectl("apply", "-f", join(folder, "kept.yaml"));
      const podsOn = async (node: string, more = ""): Promise<readonly string[]> => {
        const [pods, field] = [["-l", `oarlock.dev/run=kept${more}`], `spec.nodeName=${node}`];
        const { items } = await cluster.plane.get<Pods>([
          "-n",
          NAMESPACE,
          "pods",
          ...pods,
          "--field-selector",
          field,
        ]);
        return items.map(({ metadata }) => metadata.name);
      };
      const incarnation = async (on: string, node: ProcessKubelet): Promise<string | undefined> => {
        const [learner] = await podsOn(on, ",oarlock.dev/role=learner");
        return /"incarnation":(\d+)/.exec(node.log(`${NAMESPACE}/${learner}`))?.[1];
      };
      await eventually(
        "some steps",
        async () => (((await get("kept")).status?.progress?.step ?? 0) >= 8 ? true : undefined),
        { timeoutMs: 120_000 },
      );
      // Not through before its node is lost.
      await pauseLearner(await learnerAddress(cluster, "kept"));
      // No claim is made, and nothing lies on a volume of the cluster.
      const { uid } = (await get("kept")).metadata;
      expect(await cluster.kubectl("get", "pvc", "-l", "oarlock.dev/run=kept", "-o", "name")).toBe("");
      expect(existsSync(join(cluster.volume, "runs", uid))).toBe(false);
      expect(await incarnation("machine", machine)).toBe("1");
      expect(await podsOn("processes")).toEqual([]);
      await cluster.kubectl("uncordon", "processes");
      machine.lose();
      // Nobody says that the pods ended. A learner that found nothing would be the first again.
      await eventually(
        "a learner that goes on",
        async () => ((await incarnation("processes", cluster.kubelet)) === "2" ? true : undefined),
        { timeoutMs: 90_000 },
      );
      expect(await podsOn("machine")).toHaveLength(3);
      const events = await cluster.kubectl("get", "events", "--field-selector=involvedObject.name=kept");
      expect(events).toMatch(/NodeLost .*kept-learner-\S+: node machine does not answer/);
      expect(events).toMatch(/LearnerLost .*was lost with node machine: another learner takes its place/);
      const admin = { KUBECONFIG: cluster.plane.kubeconfig() };
      expect(kubectlOarlock(admin, "doctor", "-n", NAMESPACE)).toMatch(
        /nodes +machine does not answer; on it: kept-actor-.*\n +fix: .*kubectl taint node machine /,
      );
      // What the remedy does.
      const [out, why] = ["node.kubernetes.io/out-of-service", "nodeshutdown:NoExecute"];
      await cluster.kubectl("taint", "node", "machine", `${out}=${why}`);
      await eventually(
        "its pods to be given up",
        async () => ((await podsOn("machine")).length === 0 ? true : undefined),
        { timeoutMs: 60_000 },
      );
      await cluster.kubectl("wait", "trun/kept", "--for=condition=Complete", "--timeout=300s");

      const env = {
        NATS_URL: url,
        NATS_CA: certificate("ca.crt"),
        NATS_CERT: certificate("client.crt"),
        NATS_KEY: certificate("client.key"),
      };
      const plugin = (...args: readonly string[]): string =>
        kubectlOarlock({ ...env, KUBECONFIG: cluster.plane.kubeconfig() }, ...args, "-n", NAMESPACE);
      const fetched = join(folder, "fetched");
      expect(plugin("fetch", "kept", fetched)).toBe(`${fetched}\n`);
      expect(finalDigest(fetched)).toBe(finalDigest(alone));

      const kinds = "trun,rpool,pods,deploy,jobs,cm,events";
      expect(await cluster.kubectl("get", kinds, "-o", "yaml")).not.toContain("s3cret");

      // With the right that the namespace gives, the controller cleans up there, too.
      const account = "--serviceaccount=oarlock-system:oarlock-controller";
      const role = "oarlock-nats-client";
      await cluster.kubectl(
        "create",
        "role",
        role,
        "--verb=get",
        "--resource=secrets",
        "--resource-name=nats-client",
      );
      await cluster.kubectl("create", "rolebinding", role, `--role=${role}`, account);
      const stored = (): string[] =>
        readdirSync(join(folder, "tls-nats"), { recursive: true, encoding: "utf8" }).filter((each) =>
          each.includes(uid),
        );
      expect(stored().length).toBeGreaterThan(0);
      await cluster.kubectl("delete", "trun", "kept", "--timeout=120s");
      // The server answers before it has removed the folders.
      await eventually("what is stored of the run to go", () => (stored().length === 0 ? true : undefined));
    } finally {
      await server.stop();
    }
  }, 600_000);

  it("D1: rows of a private data set, and data, a reward and a reward model on a volume, are planned and read where pods reach them", async () => {
    // Every volume of this cluster is this folder.
    mkdirSync(join(cluster.volume, "sets"));
    const rows = Array.from({ length: 32 }, (_, at) => {
      const [a, b] = [(at * 7) % 10, (at * 3) % 10];
      return JSON.stringify({ prompt: `${a}+${b}=`, answer: String(a + b) });
    });
    writeFileSync(join(cluster.volume, "sets/rows.jsonl"), `${rows.join("\n")}\n`);
    writeFileSync(join(cluster.volume, "reward.ts"), REWARD);
    const scorer = await writeTinyScorer(join(cluster.volume, "models/rm"), { hiddenSize: 16, seed: 1 });
    const claim = {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: "shared", namespace: NAMESPACE },
      spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
    };
    const hub = await startFakeHub({
      files: new Map([["train.jsonl", readFileSync(join(cluster.volume, "sets/rows.jsonl"))]]),
      type: "datasets",
      token: "hf_of-this-team",
    });
    const onVolume = (from: string): string => `{ type: file, file: { path: "${from}/sets/rows.jsonl" } }`;
    const reading = (from: string, name: string, data = onVolume(from)): string =>
      run(
        name,
        `  allow: [EVALUATION_ON_TRAINING_DATA]
  evaluation: { data: ${onVolume(from)}, every: 20 }
  hub: { endpoint: "${hub.endpoint}", tokenSecretRef: { name: hub, key: token } }
`,
      )
        .replace("steps: 60", "steps: 20")
        .replace("{ type: task, task: { name: addition, digits: 1 } }", data)
        .replace(
          "{ name: answer, type: exact }",
          `{ name: mine, type: function, function: { file: "${from}/reward.ts" } },
          { name: liked, type: model, weight: 0.01, model: { from: "${from}/models/rm" } }`,
        );
    const ofHub = '{ type: hub, hub: { dataset: "hf://datasets/org/name", split: train } }';
    writeFileSync(join(folder, "mounted.yaml"), reading("pvc://shared", "mounted", ofHub));
    writeFileSync(join(folder, "local.yaml"), reading(cluster.volume, "local"));
    writeFileSync(join(folder, "elsewhere.yaml"), reading("pvc://shared", "elsewhere"));
    expect(() => oarlockHere("run", join(folder, "elsewhere.yaml"), "--out", join(folder, "never"))).toThrow(
      /pvc:\/\/shared\/sets\/rows.jsonl.* is in a volume of a cluster, which is not mounted here/,
    );

    await cluster.kubectl("apply", "-f", join(folder, "mounted.yaml"));
    const told = await eventually("the run to wait for its claim", async () => {
      const described = await cluster.kubectl("get", "trun", "mounted", "-o", "yaml");
      return described.includes("WaitingForFiles") && described.includes('"shared" not found')
        ? true
        : undefined;
    });
    expect(told).toBe(true);
    await cluster.kubectl("create", "secret", "generic", "hub", "--from-literal=token=hf_of-this-team");
    await cluster.plane.kubectl(["apply", "-f", "-"], { input: JSON.stringify(claim) });
    await cluster.kubectl("wait", "trun/mounted", "--for=condition=Complete", "--timeout=300s");
    const { uid } = (await get("mounted")).metadata;
    // The planner and the learner, and nobody without the token.
    expect(new Set(hub.tokens)).toEqual(new Set(["Bearer hf_of-this-team"]));
    const plan = await cluster.kubectl("get", "configmap", "mounted-plan", "-o", "json");
    expect(plan).not.toContain("hf_of-this-team");
    oarlockHere("run", join(folder, "local.yaml"), "--out", join(folder, "local"));
    expect(finalDigest(join(cluster.volume, "runs", uid))).toBe(finalDigest(join(folder, "local")));
    for (const out of [join(cluster.volume, "runs", uid), join(folder, "local")]) {
      const samples = parseSamples(readFileSync(join(out, "samples.jsonl"), "utf8"));
      expect(new Set(samples.map(({ versions }) => versions?.["liked"]))).toEqual(
        new Set([`sha256:${scorer}`]),
      );
    }
    expect((await cluster.plane.kubectl(["-n", NAMESPACE, "get", "job", "mounted-planner"])).code).not.toBe(
      0,
    );
    await cluster.kubectl("delete", "trun", "mounted", "--timeout=120s");
    // The claim is its owner's.
    expect(await cluster.kubectl("get", "pvc", "shared", "-o", "name")).toContain("shared");
  }, 600_000);
});
