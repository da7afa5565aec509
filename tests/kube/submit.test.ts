/**
 * A run that depends on files of a laptop, submitted to a cluster: reward function, its sibling and data travel with it, and
 * the weights are the laptop's, bit for bit (D1). With the other commands of `kubectl oarlock` on the way.
 */
import { execFile } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually, findKube, repositoryRoot, suiteFolder } from "@oarlock/testkit";
import {
  type Cluster,
  clusterNeeds,
  learnerAddress,
  NAMESPACE,
  pauseLearner,
  startCluster,
} from "./cluster.ts";
import { CLOSENESS, rewardFile, RLHF, run, WANTED } from "./laptop-runs.ts";
import { writePairs } from "../integration/rlhf-plan.ts";
import { finalDigest, oarlockHere } from "../one-process.ts";
import { writeTinyScorer } from "../tiny-scorer.ts";

const needs = clusterNeeds();

const READY_FIELDS = ["reason", "message"].map(
  (field) => `{.status.conditions[?(@.type=="Ready")].${field}}`,
);
/** What the run does, in a word and in a sentence. */
const READY = `-o=jsonpath=${READY_FIELDS.join(" ")}`;

interface Pods {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly status: { readonly phase: string; readonly podIP?: string };
  }[];
}

interface Run {
  readonly metadata: { readonly uid: string };
  readonly spec: unknown;
  readonly status?: {
    readonly progress?: { readonly stage: string; readonly step: number };
    readonly conditions?: readonly { readonly type: string; readonly message: string }[];
    readonly policyDigest?: string;
    readonly metrics?: readonly { readonly name: string; readonly value: string }[];
    readonly checkpoint?: { readonly step?: number };
    readonly roles?: readonly { readonly name: string; readonly usefulMaximum?: number }[];
  };
}

describe.skipIf(needs.absent)(`kubectl oarlock${needs.note}`, () => {
  const folder = suiteFolder("submit");
  const hold = join(folder, "hold");
  const cli = join(repositoryRoot(), "apps/cli/bin");
  /** As npm puts the programs of a package on the PATH. */
  const installed = join(folder, "bin");
  let cluster: Cluster;
  const get = (name: string): Promise<Run> => cluster.plane.get<Run>(["-n", NAMESPACE, "trun", name]);
  interface Outcome {
    readonly code: number;
    readonly stdout: string;
    readonly stderr: string;
  }
  /** As an editor of the namespace, on a laptop. */
  const plugin = (...args: readonly string[]): Promise<Outcome> => pluginAs("editor", ...args);
  const pluginAs = (user: string | undefined, ...args: readonly string[]): Promise<Outcome> =>
    start(user, process.execPath, [join(cli, "kubectl-oarlock.js"), ...args, "-n", NAMESPACE]);
  const start = (user: string | undefined, program: string, args: readonly string[]): Promise<Outcome> => {
    const path = [dirname(findKube().path("kubectl")), installed, process.env["PATH"] ?? ""].join(":");
    const env = { ...process.env, PATH: path, KUBECONFIG: cluster.plane.kubeconfig(user) };
    return new Promise((resolve) => {
      execFile(program, args, { env, cwd: folder }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
      );
    });
  };

  const podsOf = async (name: string, role: string): Promise<Pods["items"]> => {
    const selector = `oarlock.dev/run=${name},oarlock.dev/role=${role}`;
    const { items } = await cluster.plane.get<Pods>(["-n", NAMESPACE, "pods", "-l", selector]);
    return items.filter(({ status }) => status.phase === "Running");
  };

  beforeAll(async () => {
    mkdirSync(installed);
    symlinkSync(join(cli, "kubectl-oarlock.js"), join(installed, "kubectl-oarlock"));
    symlinkSync(join(cli, "kubectl-complete.js"), join(installed, "kubectl_complete-oarlock"));
    const imports = 'import { closeness } from "./closeness.ts";\n';
    writeFileSync(
      join(folder, "reward.ts"),
      `${imports}${rewardFile(hold, `closeness(completion, ${WANTED})`)}`,
    );
    writeFileSync(join(folder, "closeness.ts"), CLOSENESS);
    const rows = Array.from({ length: 64 }, (_, at) => {
      const [a, b] = [(at * 7) % 10, (at * 3) % 10];
      return JSON.stringify({ prompt: `${a}+${b}=`, completion: String(a + b), answer: String(a + b) });
    });
    writeFileSync(join(folder, "rows.jsonl"), `${rows.join("\n")}\n`);
    writeFileSync(join(folder, "run.yaml"), run("rows.jsonl"));
    await writeTinyScorer(join(folder, "scorer"), { hiddenSize: 16, seed: 1 });
    cluster = await startCluster(folder);
  }, 180_000);
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
  }, 60_000);

  it("plain kubectl apply is refused with what a pod can read", async () => {
    const { code, stderr } = await cluster.plane.kubectl([
      "-n",
      NAMESPACE,
      "apply",
      "-f",
      join(folder, "run.yaml"),
    ]);
    expect(code).not.toBe(0);
    expect(stderr).toContain(
      "a pod cannot read a data file of your machine; it reads bundle:// (kubectl oarlock submit",
    );
    expect(stderr).toContain("a pod cannot read a reward function of your machine");
    expect(stderr).toContain("a pod cannot read a reward model's folder of your machine");
  });

  it("doctor finds the cluster fit, and says what it lacks with a remedy", async () => {
    const { code, stdout } = await plugin("doctor", "-o", "json");
    const findings = JSON.parse(stdout) as { check: string; state: string; fix?: string }[];
    expect(code).toBe(0);
    expect(findings.find(({ check }) => check === "CRDs")?.state).toBe("ok");
    expect(findings.find(({ check }) => check === "rights")).toMatchObject({ state: "warning" });
    // An editor of one namespace may not look at the controller's.
    expect(findings.find(({ check }) => check === "controller")?.state).toBe("unknown");
    for (const { state, fix } of findings)
      expect([state, fix === undefined]).toEqual([state, state === "ok"]);
  }, 60_000);

  it("doctor asks the message server, looks for what addresses name, and counts cards", async () => {
    const doctor = async (...args: readonly string[]): Promise<Outcome> =>
      pluginAs(undefined, "doctor", ...args);
    const fit = await doctor("--nats", cluster.nats.url);
    expect(fit.stdout).toMatch(/^ok +NATS +nats-server 2\.\d+\S* at \S+, JetStream is on: \d+ streams, /m);
    expect(fit.stdout).toMatch(/^ok +devices +1 node\(s\), 0 of nvidia\.com\/gpu$/m);

    // A run that names Services which are not there, and cards that no node has. It waits for its rows.
    const asks = run("configmap://rows/rows.jsonl")
      .replace("{ name: mine }", '{ name: asks, annotations: { oarlock.dev/skip-cleanup: "true" } }')
      .replace("type: function, function: { file: ./reward.ts }", "type: exact")
      .replace(/ *- \{ name: liked.*\n/, "")
      .concat("  compute: { provider: cuda }\n")
      .concat('  nats: { url: "nats://mq:4222,nats://mq.team:4222,nats://mq:99999" }\n')
      .concat('  roles: [{ name: learner, resources: { limits: { nvidia.com/gpu: "1" } } }]\n');
    writeFileSync(join(folder, "asks.yaml"), asks);
    await cluster.kubectl("apply", "-f", join(folder, "asks.yaml"));
    const { code, stdout: absent } = await doctor("--nats", "nats://127.0.0.1:1");
    expect(code).toBe(1);
    expect(absent).toMatch(/^failed +NATS +\[BUS_UNREACHABLE\] .*127\.0\.0\.1:1.*\n +fix: .*port-forward/m);
    expect(absent).toMatch(/^failed +NATS +nats:\/\/mq:4222 \(run asks\): there is no Service mq in team/m);
    expect(absent).toMatch(
      /^unknown +NATS +nats:\/\/mq\.team:4222 \(run asks\) is none of this cluster's Services/m,
    );
    expect(absent).toMatch(/^failed +NATS +nats:\/\/mq:99999 \(run asks\) is no address/m);
    expect(absent).toMatch(
      /^warning +devices +asks: a learner pod asks for 1 of nvidia\.com\/gpu, no node has more than 0 now/m,
    );
    expect(absent).toMatch(
      /^warning +devices +asks computes on cuda, and asks for no nvidia\.com\/gpu for actor/m,
    );

    await cluster.kubectl("create", "service", "clusterip", "mq", "--tcp=4222");
    const slice = {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { name: "mq-here", namespace: NAMESPACE, labels: { "kubernetes.io/service-name": "mq" } },
      addressType: "IPv4",
      endpoints: [{ addresses: ["10.0.0.9"], conditions: { ready: true } }],
      ports: [{ port: 4222 }],
    };
    const card = JSON.stringify({ status: { allocatable: { "nvidia.com/gpu": "1" } } });
    await cluster.plane.kubectl(["apply", "-f", "-"], { input: JSON.stringify(slice) });
    await cluster.kubectl("patch", "node", "processes", "--subresource=status", "--type=merge", "-p", card);
    const there = (await doctor()).stdout;
    expect(there).toMatch(/^ok +NATS +nats:\/\/mq:4222 \(run asks\): 1 ready behind Service team\/mq$/m);
    expect(there).toMatch(
      /^ok +NATS +nats:\/\/mq\.team:4222 \(run asks\): 1 ready behind Service team\/mq$/m,
    );
    expect(there).toMatch(/^ok +devices +1 node\(s\), 1 of nvidia\.com\/gpu; runs ask for 1$/m);
    await cluster.kubectl("delete", "trun/asks", "service/mq", "endpointslice/mq-here", "--timeout=60s");
  }, 120_000);

  it("D1: submit packs the files; the weights are the laptop's", async () => {
    const { nats } = cluster;
    writeFileSync(hold, "");
    const made = await plugin("submit", "run.yaml", "--nats", nats.url);
    expect(made).toMatchObject({ code: 0, stdout: "trainingrun.oarlock.dev/mine created\n" });
    const { metadata, spec } = await get("mine");
    expect(JSON.stringify(spec)).toMatch(/"path":"bundle:\/\/sha256-[0-9a-f]{64}\/rows.jsonl"/);
    expect(JSON.stringify(spec)).toMatch(/"file":"bundle:\/\/sha256-[0-9a-f]{64}\/reward.mjs"/);
    expect(JSON.stringify(spec)).toMatch(/"from":"bundle:\/\/sha256-[0-9a-f]{64}\/scorer"/);

    await eventually(
      "some steps",
      async () => (((await get("mine")).status?.progress?.step ?? 0) >= 5 ? true : undefined),
      { timeoutMs: 120_000 },
    );
    expect((await get("mine")).status?.roles?.find(({ name }) => name === "actor")?.usefulMaximum).toBe(16);
    expect(await plugin("checkpoint", "mine")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^checkpoint of step [1-9]\d*\n$/),
    });
    expect((await get("mine")).status?.checkpoint?.step).toBeGreaterThan(0);
    const typed = ["__complete", "oarlock", "why", `--namespace=${NAMESPACE}`, "m"];
    expect((await start("editor", "kubectl", typed)).stdout).toBe("mine\n:4\n");
    expect((await plugin("doctor")).stdout).toMatch(/^ok +devices +mine-actor: 1 on cpu, .*ONNX Runtime/m);
    expect((await plugin("why", "mine")).stdout).toMatch(/^mine: .+\n$/);
    // Logs are the cluster's own right.
    await cluster.kubectl("create", "rolebinding", "watcher", "--clusterrole=view", "--user=editor");
    // A reader that leaves ends what follows.
    for (const raw of [[], ["--raw"]]) {
      const line = [process.execPath, join(cli, "kubectl-oarlock.js"), "logs", "mine", "-f", ...raw];
      const piped = `set -o pipefail; ${[...line, "-n", NAMESPACE].join(" ")} | head -n 1`;
      const { code, stdout } = await start("editor", "bash", ["-c", piped]);
      expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringMatching(/^\[pod\/mine-/) });
    }
    expect(await plugin("suspend", "mine", "--wait", "-o", "name")).toMatchObject({
      code: 0,
      stdout: "trainingrun.oarlock.dev/mine\n",
    });
    expect(JSON.parse((await plugin("why", "mine", "-o", "json")).stdout)).toMatchObject({
      run: "mine",
      reason: "Suspended",
    });
    expect((await plugin("why", "mine", "-o", "yaml")).stdout).toMatch(/^run: mine\nreason: Suspended\n/);
    rmSync(hold);
    expect((await plugin("resume", "mine", "-o", "wide")).stdout).toMatch(/^NAME +READY +STATUS .*TRACE/);

    await cluster.kubectl("wait", "trun/mine", "--for=condition=Complete", "--timeout=300s");
    expect((await get("mine")).status?.checkpoint?.step).toBe(50);
    const alone = join(folder, "alone");
    oarlockHere("run", join(folder, "run.yaml"), "--out", alone);
    expect(finalDigest(join(cluster.volume, "runs", metadata.uid))).toBe(finalDigest(alone));
    // Logs of every role, each line with its pod. The finished learner's pod is still there.
    const logs = await plugin("logs", "mine");
    expect(logs.stdout).toMatch(/^\[pod\/mine-learner-[^\]]+\] .*"started"/m);
    expect(logs.stdout).toMatch(
      /^\[pod\/mine-learner-[^\]]+\] completed after \d+ steps, policy \d+ [0-9a-f]{12}$/m,
    );
    expect((await plugin("logs", "mine", "--raw")).stdout).toMatch(
      /^\[pod\/mine-learner-[^\]]+\] \{"type":"ended"/m,
    );
    // It came too late, which is not what was asked for.
    expect(await plugin("suspend", "mine", "--wait", "-o", "name")).toMatchObject({
      code: 3,
      stdout: "",
      stderr: expect.stringContaining(
        "[RUN_OVER] mine was over before it was suspended: all steps are trained",
      ),
    });
  }, 600_000);

  it("the files go with the run", async () => {
    const { uid } = (await get("mine")).metadata;
    const stored = (): string[] =>
      readdirSync(join(folder, "nats/store"), { recursive: true, encoding: "utf8" }).filter((path) =>
        path.includes(`${uid}_BUNDLE`),
      );
    expect(stored().length).toBeGreaterThan(0);
    await cluster.kubectl("delete", "trun", "mine", "--timeout=120s");
    expect(stored()).toEqual([]);
  }, 150_000);

  it("D1, T3: a reward model and PPO against it bear that learner and reward worker go, and say which stage they are in", async () => {
    writePairs(folder);
    writeFileSync(join(folder, "slow.ts"), rewardFile(hold, "completion.length === 1 ? 0.1 : 0"));
    writeFileSync(hold, "");
    writeFileSync(join(folder, "rlhf.yaml"), RLHF);
    expect(await plugin("submit", "rlhf.yaml", "--nats", cluster.nats.url)).toMatchObject({ code: 0 });
    const { uid } = (await get("rlhf")).metadata;
    const seen: string[] = [];
    const said = new Set<string>();
    /** Waits for a step of a stage, and notes on the way which stages it is in, and what it says. */
    const reach = (stage: string, step: number): Promise<true> =>
      eventually(
        `step ${step} in stage ${stage}`,
        async () => {
          const { progress, conditions = [] } = (await get("rlhf")).status ?? {};
          for (const { type, message } of conditions) if (type === "Ready") said.add(message);
          if (progress !== undefined && progress.stage !== seen.at(-1)) seen.push(progress.stage);
          return progress?.stage === stage && progress.step >= step ? true : undefined;
        },
        { timeoutMs: 240_000 },
      );

    await reach("judge", 11);
    const [learner] = await podsOf("rlhf", "learner");
    // The stage is not over before everything is said of it.
    await pauseLearner(await learnerAddress(cluster, "rlhf"));
    expect(await cluster.kubectl("get", "trun", "rlhf")).toMatch(
      /rlhf +\w+ +(?:Training|Paused) +judge +\d+/,
    );
    expect((await plugin("samples", "rlhf")).stderr).toContain("stage judge is reward-model");
    await cluster.kubectl("delete", "pod", learner?.metadata.name ?? "", "--wait=false");
    // Its Job pauses for ten seconds.
    await eventually("the pause of the learner's Job", async () =>
      /^Starting .*after one that ended its Job pauses, 10 s at first/.test(
        await cluster.kubectl("get", "trun", "rlhf", READY),
      )
        ? true
        : undefined,
    );

    await reach("please", 312);
    const [worker] = await podsOf("rlhf", "reward");
    await eventually("the reward worker to judge", async () => {
      const page = await (await fetch(`http://${worker?.status.podIP}:9464/metrics`)).text();
      return /^oarlock_reward_batches_in_hand(?:\{.*\})? [1-9]/m.test(page) ? true : undefined;
    });
    cluster.kubelet.kill(`${NAMESPACE}/${worker?.metadata.name}`);
    rmSync(hold);
    // The first may be over before anybody looks; none comes twice.
    expect(seen.filter((stage) => stage !== "style")).toEqual(["judge", "please"]);
    expect(said).toContain(
      "stage judge (reward-model), 2 of 3: the learner trains alone, 1 actor and 1 reward worker wait for rollouts",
    );

    await cluster.kubectl("wait", "trun/rlhf", "--for=condition=Complete", "--timeout=240s");
    const { status } = await get("rlhf");
    const verdict = status?.metrics?.find(({ name }) => name === "held_out_accuracy_judge")?.value;
    expect(Number(verdict)).toBeGreaterThanOrEqual(0.6);
    expect(await cluster.kubectl("describe", "trun", "rlhf")).toMatch(
      /StageStarted .*stage judge \(reward-model\), 2 of 3[\s\S]*StageStarted .*stage please \(ppo\), 3 of 3/,
    );
    const alone = join(folder, "rlhf-alone");
    oarlockHere("run", join(folder, "rlhf.yaml"), "--out", alone);
    expect(finalDigest(join(cluster.volume, "runs", uid))).toBe(finalDigest(alone));
    expect(readFileSync(join(alone, "summary.json"), "utf8")).toContain(`"${status?.policyDigest}"`);
    await cluster.kubectl("delete", "trun", "rlhf", "--timeout=120s");
  }, 900_000);

  it("waits for what is not there yet, reads ConfigMaps, and lets the controller decide where it is told to", async () => {
    const text = run("configmap://rows/rows.jsonl")
      .replace("name: mine", "name: mapped")
      .replace("./reward.ts", "configmap://rows/exact.ts")
      .replace(/ *- \{ name: liked.*\n/, "")
      .concat("  roles: [{ name: actor, replicas: 1, maxReplicas: 2, scaling: { mode: Balanced } }]\n");
    writeFileSync(join(folder, "mapped.yaml"), text);
    writeFileSync(join(folder, "exact.ts"), rewardFile(hold, `completion === ${WANTED} ? 1 : 0`));
    writeFileSync(hold, "");
    await cluster.kubectl("apply", "-f", join(folder, "mapped.yaml"));
    const because = await eventually("the run to wait for its file", async () => {
      const { stdout } = await plugin("why", "mapped");
      return stdout.includes("ConfigMap rows") ? stdout : undefined;
    });
    expect(because).toBe("mapped: ConfigMap rows does not exist in the run's namespace\n");
    const from = ["rows.jsonl", "exact.ts"].map((file) => `--from-file=${join(folder, file)}`);
    await cluster.kubectl("create", "configmap", "rows", ...from);
    await cluster.kubectl("wait", "trun/mapped", "--for=condition=Ready", "--timeout=60s");
    await cluster.kubectl("scale", "rpool/mapped-actor", "--replicas=7");
    await eventually("an event to answer it", async () => {
      const described = await cluster.kubectl("describe", "trun", "mapped");
      return /ScaleOverruled.*7 were asked for/.test(described) ? true : undefined;
    });
    const pool = await cluster.plane.get<{ spec: { replicas: number } }>([
      "-n",
      NAMESPACE,
      "rpool",
      "mapped-actor",
    ]);
    expect(pool.spec.replicas).toBeLessThanOrEqual(2);
    rmSync(hold);
    await cluster.kubectl("wait", "trun/mapped", "--for=condition=Complete", "--timeout=300s");
  }, 400_000);
});
