/**
 * The addition sample as real pods of built images on a real node, under the restricted level: disturbed as a cluster does
 * it, from roll-outs to an actor that runs out of memory, and with the weights of one undisturbed process (D1).
 */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { eventually, findKube, repositoryRoot, suiteFolder } from "@oarlock/testkit";
import { finalDigest, oarlockHere } from "../one-process.ts";
import { GIVEN_CLAIM, NAMESPACE, type NodeCluster, startNodeCluster } from "./cluster.ts";
import { NEXT_IMAGE, openImageStore, TARGETS } from "./images.ts";
import { nodeNeeds } from "./needs.ts";

interface Run {
  readonly metadata: { readonly uid: string };
  readonly spec: { readonly roles: readonly { readonly name: string }[] };
  readonly status?: {
    readonly progress?: { readonly step: number };
    readonly policyDigest?: string;
  };
}

interface Pod {
  readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
  readonly spec: { readonly containers: readonly { readonly image: string }[] };
  readonly status: {
    readonly phase: string;
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly containerStatuses?: readonly {
      readonly restartCount: number;
      readonly state?: { readonly terminated?: { readonly reason: string } };
      readonly lastState?: { readonly terminated?: { readonly reason: string } };
    }[];
  };
}

const needs = nodeNeeds();

/** Imitation up to where the second stage is right now and then; then long enough to be disturbed. */
const [SFT_STEPS, GRPO_STEPS] = [150, 400];

/** A sample with some of its lines changed. */
function changed(name: string, changes: readonly (readonly [from: string, to: string])[]): string {
  const sample = readFileSync(join(repositoryRoot(), "deploy/k8s/samples", name), "utf8");
  return changes.reduce((text, [from, to]) => {
    expect(text).toContain(from);
    return text.replace(from, to);
  }, sample);
}

/** The sample with fewer steps, each a quarter of the work, on a node of two cores. */
function shortSample(): string {
  return changed("addition.yaml", [
    ["steps: 1500", `steps: ${SFT_STEPS}`],
    ["steps: 250", `steps: ${GRPO_STEPS}`],
    ["promptsPerStep: 64", "promptsPerStep: 16"],
    ["limit: 400", "limit: 40"],
    ["every: 50", "every: 100"],
    ["checkpoints: { every: 100 }", "checkpoints: { every: 10 }"],
    ['requests: { cpu: "1", memory: 1Gi }', "requests: { cpu: 100m, memory: 256Mi }"],
    ['requests: { cpu: "1", memory: 1Gi }', "requests: { cpu: 100m, memory: 256Mi }"],
  ]);
}

/** The self-contained sample, whose demonstrations and reward lie in files. */
const REWARD = `import { defineReward } from "@oarlock/rewards";
export const reward = defineReward(({ completion, row }) => (completion === String(row["answer"]) ? 1 : 0));
`;
function rows(): string {
  const all = Array.from({ length: 64 }, (_, at) => {
    const [a, b] = [(at * 37) % 100, (at * 53) % 100];
    const sum = String(a + b);
    return JSON.stringify({ prompt: `${a}+${b}=`, completion: sum, answer: sum });
  });
  return `${all.join("\n")}\n`;
}
function selfContained(files: string): string {
  const task = "{ type: task, task: { name: addition, digits: 2, split: train } }";
  const data = `{ type: file, file: { path: "${files}/rows.jsonl" } }`;
  return changed("self-contained.yaml", [
    [task, data],
    [task, data],
    [
      "{ name: answer, type: exact }",
      `{ name: mine, type: function, function: { file: "${files}/reward.ts" } }`,
    ],
  ]);
}

describe.skipIf(needs.absent)(`images${needs.note}`, () => {
  it("have a target per program, an ordinary user, and nothing that only developers need", () => {
    const store = openImageStore();
    for (const target of TARGETS) {
      const image = store.build(target);
      const program = target === "cli" ? "oarlock" : `oarlock-${target}`;
      const config = store.inspect(image);
      expect(config).toMatchObject({ user: "10001:10001", entrypoint: [program] });
      // As the launcher sets it for a local run; a service's program is what the image starts.
      const tunables = config.environment.filter((each) => each.startsWith("GLIBC_TUNABLES="));
      expect(tunables).toEqual(process.arch === "x64" ? ["GLIBC_TUNABLES=glibc.malloc.hugetlb=1"] : []);
    }
    const image = store.build("cli");
    expect(store.run(image, ["oarlock", "--version"])).toMatch(/^\d+\.\d+\.\d+$/);
    expect(store.run(image, ["node", "--version"])).toMatch(/^v24\./);
    const installed = store
      .run(image, ["ls", "/opt/oarlock/node_modules", "/opt/oarlock/packages"])
      .split("\n");
    for (const name of ["onnxruntime-node", "runtime"]) expect(installed).toContain(name);
    for (const name of ["vitest", "typescript", "turbo", "testkit"]) expect(installed).not.toContain(name);
    // Vendors' licences travel with what they cover; GPU libraries do not travel.
    const files = store.run(image, ["find", "/opt/oarlock", "-type", "f"]).split("\n");
    expect(files).toContain("/opt/oarlock/node_modules/onnxruntime-node/package.json");
    const native = files.filter((path) => /\.(so|node|bare|dll|dylib)(\.|$)/.test(path));
    expect(native.length).toBeGreaterThan(1);
    expect(native.filter((path) => /cuda|cublas|darwin|win32|arm64/i.test(path))).toEqual([]);
  }, 900_000);
});

describe.skipIf(needs.absent)(`a run on a real node${needs.note}`, () => {
  const folder = suiteFolder("node");
  let cluster: NodeCluster;
  const kubectl = (...args: readonly string[]): Promise<string> => cluster.kubectl(...args);
  const get = (): Promise<Run> => cluster.machine.plane.get<Run>(["-n", NAMESPACE, "trun", "addition"]);
  const step = async (): Promise<number> => (await get()).status?.progress?.step ?? 0;
  const pods = async (role: string): Promise<readonly Pod[]> => {
    const selector = `oarlock.dev/run=addition,oarlock.dev/role=${role}`;
    const args = ["-n", NAMESPACE, "pods", "-l", selector];
    const { items } = await cluster.machine.plane.get<{ items: readonly Pod[] }>(args);
    return items.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  };
  const ready = async (role: string): Promise<readonly Pod[]> =>
    (await pods(role)).filter(({ status }) =>
      status.conditions?.some((each) => each.type === "Ready" && each.status === "True"),
    );
  const waitFor = <T>(what: string, attempt: () => Promise<T | undefined>): Promise<T> =>
    eventually(what, attempt, { timeoutMs: 180_000, everyMs: 500 });
  const reach = (least: number): Promise<true> =>
    waitFor(`step ${least}`, async () => ((await step()) >= least ? true : undefined));
  const serving = (role: string, count: number): Promise<true> =>
    waitFor(`${count} ${role} pods to serve`, async () =>
      (await ready(role)).length === count ? true : undefined,
    );
  /** Addresses that a pod finds behind a name, by the cluster's DNS. */
  const lookUp = async (pod: string, name: string): Promise<readonly string[]> => {
    const ask = `require("node:dns").promises.lookup(${JSON.stringify(name)}, { all: true })
      .then((all) => console.log(JSON.stringify(all.map(({ address }) => address).sort())))`;
    return JSON.parse(await kubectl("exec", pod, "--", "node", "-e", ask)) as readonly string[];
  };
  /** `kubectl oarlock` on the node, with the kubectl that the cluster came with. */
  const plugin = (...args: readonly string[]): Promise<string> => {
    const path = [dirname(findKube().path("kubectl")), process.env["PATH"] ?? ""].join(":");
    const settings = [`PATH=${path}`, `KUBECONFIG=${cluster.machine.plane.kubeconfig()}`];
    const program = join(repositoryRoot(), "apps/cli/bin/kubectl-oarlock.js");
    return cluster.machine.run("env", ...settings, process.execPath, program, ...args, "-n", NAMESPACE);
  };
  /** Says this to the learner, as whoever reaches its pod may. */
  const tellLearner = async (word: "pause" | "resume"): Promise<void> => {
    const [learner] = await ready("learner");
    const tell = `import { LearnerService } from "@oarlock/proto";
      import { openChannel } from "@oarlock/rpc";
      const channel = openChannel("${learner!.status.podIP}:50051");
      await channel.client(LearnerService).${word}({}, { timeoutMs: 10_000 });
      process.exit(0);`;
    const program = [process.execPath, "--input-type=module", "-e", tell];
    await cluster.machine.run("env", "-C", repositoryRoot(), ...program);
  };
  const killProcess = (program: string): Promise<string> =>
    cluster.machine.run("pkill", "-KILL", "--oldest", "--full", program);
  const changeActor = async (fields: object): Promise<void> => {
    const { spec } = await get();
    const roles = spec.roles.map((role) => (role.name === "actor" ? { ...role, ...fields } : role));
    await kubectl("patch", "trun", "addition", "--type=merge", "-p", JSON.stringify({ spec: { roles } }));
  };

  // Each part goes on from where the one before left the run.
  let broken = false;
  beforeEach(({ skip }) => skip(broken, "an earlier part failed"));
  afterEach(({ task }) => {
    broken ||= task.result?.state === "fail";
  });
  beforeAll(async () => {
    writeFileSync(join(folder, "run.yaml"), shortSample());
    cluster = await startNodeCluster(needs, folder);
  }, 900_000);
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
  }, 60_000);

  it("runs its pods without rights, and with a root file system that nobody writes", async () => {
    await kubectl("apply", "-f", join(folder, "run.yaml"));
    await serving("actor", 2);
    const [actor] = await ready("actor");
    const look = `const { readFileSync, writeFileSync } = require("node:fs");
      const status = readFileSync("/proc/1/status", "utf8");
      const field = (name) => status.match(new RegExp(name + ":\\\\s+(\\\\S+)"))[1];
      let written = "yes";
      try { writeFileSync("/opt/oarlock/x", "") } catch (error) { written = error.code }
      const token = require("node:fs").existsSync("/var/run/secrets/kubernetes.io/serviceaccount");
      console.log(JSON.stringify([process.getuid(), field("CapEff"), field("NoNewPrivs"), field("Seccomp"), written, token]))`;
    const seen = JSON.parse(await kubectl("exec", actor!.metadata.name, "--", "node", "-e", look)) as unknown;
    expect(seen).toEqual([10_001, "0000000000000000", "1", "2", "EROFS", false]);
    const addresses = (await ready("actor")).map(({ status }) => status.podIP ?? "").toSorted();
    expect(await lookUp(actor!.metadata.name, "addition-actor")).toEqual(addresses);
    // Now the actors have work.
    await reach(SFT_STEPS + 3);
    expect(await plugin("samples", "addition", "--count", "2")).toMatch(
      /── grpo step \d+, prompt \d+[\s\S]*\d\+\d+=/,
    );
    expect(JSON.parse(await plugin("doctor", "-o", "json"))).toContainEqual(
      expect.objectContaining({ check: "controller", state: "ok" }),
    );
  }, 300_000);

  it("finishes the work in flight when an actor is told to end, within its grace", async () => {
    const [actor] = await ready("actor");
    const name = actor!.metadata.name;
    const log = kubectl("logs", "-f", name);
    const startMs = performance.now();
    await kubectl("delete", "pod", name);
    // The grace is 60 s; one that is killed at its end would say nothing more.
    expect(performance.now() - startMs).toBeLessThan(50_000);
    expect(await log).toMatch(/"message":"draining"[\s\S]*"message":"ended"/);
    await serving("actor", 2);
  }, 200_000);

  it("bears killed processes: an actor, the controller, the learner, the message server", async () => {
    await killProcess("oarlock-actor");
    await killProcess("oarlock-controller");
    await reach((await step()) + 5);
    await killProcess("oarlock-learner");
    await reach((await step()) + 5);
    await killProcess("nats-server");
    await reach((await step()) + 5);
    const restarts = (await pods("actor")).flatMap(({ status }) => status.containerStatuses ?? []);
    expect(restarts.reduce((sum, { restartCount }) => sum + restartCount, 0)).toBeGreaterThan(0);
    const [learner] = await ready("learner");
    await kubectl("delete", "pod", learner!.metadata.name, "--wait=false");
    await waitFor("another learner", async () =>
      (await ready("learner")).find(({ metadata }) => metadata.name !== learner!.metadata.name),
    );
    await reach((await step()) + 5);
  }, 600_000);

  it("keeps its actors while a roll-out runs out of memory, and takes one that works", async () => {
    // No step is needed while pods start and fail: those that are left are for the moments in between, and for the end.
    await tellLearner("pause");
    await changeActor({ resources: { limits: { memory: "48Mi" } } });
    await waitFor("an actor to be killed for memory", async () =>
      (await pods("actor")).find(({ status }) =>
        status.containerStatuses?.some(
          ({ state, lastState }) => (state?.terminated ?? lastState?.terminated)?.reason === "OOMKilled",
        ),
      ),
    );
    expect(await ready("actor")).toHaveLength(2);
    await tellLearner("resume");
    await reach((await step()) + 3);
    await tellLearner("pause");
    await changeActor({ resources: { limits: { memory: "2Gi" } }, image: NEXT_IMAGE });
    await waitFor("the new image to serve everywhere", async () => {
      const now = await ready("actor");
      const all = now.length === 2 && now.every(({ spec }) => spec.containers[0]?.image === NEXT_IMAGE);
      return all ? true : undefined;
    });
    await tellLearner("resume");
  }, 600_000);

  it("D1: completes with the weights of one undisturbed process", async () => {
    expect(await step()).toBeLessThan(SFT_STEPS + GRPO_STEPS);
    await kubectl("wait", "trun/addition", "--for=condition=Complete", "--timeout=400s");
    const alone = join(folder, "alone");
    oarlockHere("run", join(folder, "run.yaml"), "--out", alone);
    const { metadata, status } = await get();
    expect(readFileSync(join(alone, "summary.json"), "utf8")).toContain(`"${status?.policyDigest}"`);
    expect(finalDigest(cluster.checkpoints(metadata.uid))).toBe(finalDigest(alone));
  }, 900_000);

  it("D1: a run with a message server and an authority of its own finds both by name, also when the server moves, and reads a volume", async () => {
    const file = join(folder, "self-contained.yaml");
    writeFileSync(join(cluster.given, "rows.jsonl"), rows());
    writeFileSync(join(cluster.given, "reward.ts"), REWARD);
    writeFileSync(file, selfContained(`pvc://${GIVEN_CLAIM}`));
    const own = (): Promise<Run> =>
      cluster.machine.plane.get<Run>(["-n", NAMESPACE, "trun", "self-contained"]);
    await kubectl("apply", "-f", file);
    await waitFor("its first steps", async () =>
      ((await own()).status?.progress?.step ?? 0) >= 5 ? true : undefined,
    );
    const server = "self-contained-nats-0";
    const address = await kubectl("get", "pod", server, "-o", "jsonpath={.status.podIP}");
    expect(await lookUp("job/self-contained-learner", `self-contained-nats.${NAMESPACE}.svc`)).toEqual([
      address,
    ]);
    // Another pod has another address, under the same name.
    await kubectl("delete", "pod", server);
    await kubectl("wait", "trun/self-contained", "--for=condition=Complete", "--timeout=300s");
    const alone = join(folder, "self-contained");
    const here = join(folder, "here.yaml");
    writeFileSync(here, selfContained(cluster.given));
    oarlockHere("run", here, "--out", alone);
    expect(finalDigest(cluster.checkpoints((await own()).metadata.uid))).toBe(finalDigest(alone));
    await kubectl("delete", "trun", "self-contained", "--timeout=60s");
    const kinds = "secrets,statefulsets,services,pvc,pods";
    const selector = "app.kubernetes.io/instance=self-contained";
    await waitFor("all of it to go", async () =>
      (await kubectl("get", kinds, "-l", selector, "-o", "name")) === "" ? true : undefined,
    );
  }, 600_000);
});
