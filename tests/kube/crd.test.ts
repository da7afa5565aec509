/**
 * The custom resources on a real API server: they apply plainly, explain themselves, and judge run files as `oarlock
 * validate --shallow` does.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatProblem, readRunFile } from "@oarlock/runfile";
import {
  type Api,
  type ControlPlane,
  createApi,
  eventually,
  findKube,
  repositoryRoot,
  startControlPlane,
} from "@oarlock/testkit";
import { runFiles } from "./generate-spec.ts";

interface Status {
  readonly message?: string;
  readonly details?: { readonly causes?: readonly { readonly field: string; readonly message: string }[] };
}

const kube = findKube(["etcd", "kube-apiserver", "kubectl"]);
const crds = join(repositoryRoot(), "deploy/k8s/crds");
const RUNS = "/apis/oarlock.dev/v1alpha1/namespaces/default/trainingruns";

/** What only the API server refuses: it knows that pods read other files than a laptop does. */
const ONLY_ON_A_CLUSTER = /a pod cannot read|some validation rules were not checked/;

describe.skipIf(kube.absent)(`custom resources${kube.note}`, () => {
  let plane: ControlPlane;
  let api: Api;
  let applied: Awaited<ReturnType<ControlPlane["kubectl"]>>;

  beforeAll(async () => {
    plane = await startControlPlane();
    api = createApi({ url: plane.url, certificate: plane.certificate, token: plane.token() });
    const files = ["trainingruns.yaml", "rolepools.yaml"].flatMap((name) => ["-f", join(crds, name)]);
    applied = await plane.kubectl(["apply", ...files]);
    await plane.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=20s"]);
  });
  afterAll(async () => {
    api.close();
    await plane[Symbol.asyncDispose]();
  });

  const judge = async (run: object): Promise<readonly string[]> => {
    const path = `${RUNS}?dryRun=All&fieldValidation=Strict`;
    const { code, body } = await api.request<Status>("POST", path, { body: run });
    if (code < 300) return [];
    const causes = body.details?.causes?.map(({ field, message }) => `${field}: ${message}`);
    return causes === undefined || causes.length === 0 ? [body.message ?? String(code)] : causes;
  };

  it("apply plainly, and are small enough for it", () => {
    expect(applied, applied.stderr).toMatchObject({ code: 0 });
    // kubectl keeps the object in an annotation of at most 256 KiB.
    for (const name of ["trainingruns.yaml", "rolepools.yaml"])
      expect(readFileSync(join(crds, name)).length).toBeLessThan(200 * 1024);
  });

  it.each([
    ["trun.spec.stages.grpo.groupSize", "Completions per prompt."],
    ["trun.spec.roles.replicas", "kubectl scale"],
    ["trun.spec.suspend", "continues bit for bit"],
    ["trun.status.conditions", "Progressing, Stalled, Suspended, Complete, Failed"],
    ["rpool.spec.replicas", "kubectl scale"],
  ])("explain %s", async (path, words) => {
    // The published OpenAPI follows the definition after a moment.
    const stdout = await eventually(`kubectl explain ${path}`, async () => {
      const explained = await plane.kubectl(["explain", path]);
      return explained.code === 0 ? explained.stdout : undefined;
    });
    expect(stdout.replaceAll(/\s+/g, " ")).toContain(words);
  });

  it("serve the same run as they were given: no default is added, no field is lost", async () => {
    const text = readFileSync(join(repositoryRoot(), "examples/addition.yaml"), "utf8");
    const { code, stderr } = await plane.kubectl(["create", "-f", "-"], { input: text });
    expect(stderr).toBe("");
    expect(code).toBe(0);
    const stored = await plane.get<{ spec: object }>(["trun", "addition"]);
    const read = readRunFile(text, { file: "addition.yaml" });
    expect(read.ok && read.file.run.spec).toEqual(stored.spec);
  });

  it("accept and refuse the same files as the command line (property)", async () => {
    let accepted = 0;
    const property = fc.asyncProperty(runFiles(), async (run) => {
      const read = readRunFile(JSON.stringify(run), { file: "run.json" });
      const problems = read.ok ? [] : read.problems.map(formatProblem);
      const refusals = (await judge(run)).filter((refusal) => !ONLY_ON_A_CLUSTER.test(refusal));
      if (problems.length === 0) accepted++;
      expect({ refused: refusals.length > 0, refusals, problems }).toMatchObject({
        refused: problems.length > 0,
      });
    });
    await fc.assert(property, { numRuns: 300, seed: 20_26 });
    // The property says something only where both sides of it occur.
    expect(accepted).toBeGreaterThan(50);
    expect(accepted).toBeLessThan(250);
  });

  const minimal = (spec: object): object => ({
    apiVersion: "oarlock.dev/v1alpha1",
    kind: "TrainingRun",
    metadata: { name: "specimen" },
    spec: {
      model: { from: "hf://org/name" },
      stages: [sft({ type: "task", task: { name: "addition" } })],
      ...spec,
    },
  });
  const sft = (data: object): object => ({ name: "warm", type: "sft", sft: { data, steps: 1 } });

  it.each([
    ["model folder", { model: { from: "./model" } }],
    ["data file", { stages: [sft({ type: "file", file: { path: "rows.jsonl" } })] }],
    [
      "reward function",
      {
        evaluation: {
          data: { type: "task", task: { name: "addition" } },
          rewards: [{ name: "mine", type: "function", function: { file: "reward.ts" } }],
        },
      },
    ],
    [
      "reward model's folder",
      {
        evaluation: {
          data: { type: "task", task: { name: "addition" } },
          rewards: [{ name: "one", type: "model", model: { from: "./rm" } }],
        },
      },
    ],
    [
      "reward model's folder",
      {
        evaluation: {
          data: { type: "task", task: { name: "addition" } },
          rewards: [{ name: "all", type: "ensemble", ensemble: { from: ["stage/rm", "rm"] } }],
        },
      },
    ],
  ])("refuse a %s of the user's machine, which the command line reads", async (what, spec) => {
    const run = minimal(spec);
    expect(readRunFile(JSON.stringify(run), { file: "run.json" }).ok).toBe(true);
    const refusals = await judge(run);
    expect(refusals.join("\n")).toContain(`a pod cannot read a ${what} of your machine`);
    expect(refusals.join("\n")).toContain("hf://");
  });

  it.each([
    ["learner replicas", { roles: [{ name: "learner", replicas: 2 }] }, "exactly one learner"],
    ["min above max", { roles: [{ name: "actor", minReplicas: 3, maxReplicas: 2 }] }, "minReplicas is above"],
    [
      "above max",
      { roles: [{ name: "actor", replicas: 3, maxReplicas: 2 }] },
      "replicas is above maxReplicas",
    ],
    ["no acknowledged loss", { storage: { type: "emptyDir", emptyDir: { acceptLoss: false } } }, "are lost"],
    ["nats without address", { nats: {} }, "exactly one of 'url', 'urlSecretRef' and 'managed'"],
    ["nats by http", { nats: { url: "http://nats" } }, "spec.nats.url"],
    ["password in the open", { nats: { url: "nats://me:p@nats" } }, "nats.urlSecretRef"],
    ["wrong storage block", { storage: { type: "claim", new: { size: "1Gi" } } }, "needs the block 'claim'"],
    ["role twice", { roles: [{ name: "actor" }, { name: "actor" }] }, "Duplicate value"],
  ])("refuse with words: %s", async (_, spec, words) => {
    const run = minimal(spec);
    expect(readRunFile(JSON.stringify(run), { file: "run.json" }).ok).toBe(false);
    expect((await judge(run)).join("\n")).toContain(words);
  });

  it("refuse a change of what is trained, and accept a change of size", async () => {
    await api.request("POST", RUNS, { body: { ...minimal({ seed: 1 }), metadata: { name: "fixed" } } });
    const patch = async (spec: object): Promise<string> => {
      const options = { body: { spec }, contentType: "application/merge-patch+json" };
      const { code, body } = await api.request<Status>("PATCH", `${RUNS}/fixed`, options);
      return code < 300 ? "" : (body.message ?? "");
    };
    expect(await patch({ seed: 2 })).toContain("seed cannot change");
    expect(await patch({ model: { from: "hf://org/other" } })).toContain("model cannot change");
    expect(await patch({ evaluation: { data: { type: "task", task: { name: "addition" } } } })).toContain(
      "evaluation cannot change",
    );
    expect(await patch({ managedBy: "kueue.x-k8s.io/multikueue" })).toContain("managedBy cannot change");
    expect(await patch({ suspend: true, roles: [{ name: "actor", replicas: 4 }] })).toBe("");
  });

  it.each(["Addition", "1st", "a".repeat(41), "a.b"])("refuse the name %s", async (name) => {
    const { code, body } = await api.request<Status>("POST", `${RUNS}?dryRun=All`, {
      body: { ...minimal({}), metadata: { name } },
    });
    expect(code).toBe(422);
    expect(body.message).toContain("name");
  });
});
