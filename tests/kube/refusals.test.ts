/**
 * What a wrong run gets from the API server and from `oarlock validate --shallow`, side by side: docs/refusals.md is this
 * table. Both refuse every row.
 */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatProblem, readRunFile } from "@oarlock/runfile";
import {
  type Api,
  type ControlPlane,
  createApi,
  findKube,
  repositoryRoot,
  startControlPlane,
} from "@oarlock/testkit";

interface Status {
  readonly message?: string;
  readonly details?: { readonly causes?: readonly { readonly field: string; readonly message: string }[] };
}

type Plain = Record<string, unknown>;

const kube = findKube(["etcd", "kube-apiserver", "kubectl"]);
const RUNS = "/apis/oarlock.dev/v1alpha1/namespaces/default/trainingruns?dryRun=All&fieldValidation=Strict";
const task = { type: "task", task: { name: "addition" } };
const sft = (changes: Plain): Plain => ({
  stages: [{ name: "warm", type: "sft", sft: { data: task, steps: 1, ...changes } }],
});
const grpo = (changes: Plain): Plain => ({
  stages: [
    {
      name: "learn",
      type: "grpo",
      grpo: { data: task, steps: 1, rewards: [{ name: "answer", type: "exact" }], ...changes },
    },
  ],
});
const judge = (changes: Plain): Plain => ({
  stages: [{ name: "judge", type: "reward-model", "reward-model": { data: task, steps: 1, ...changes } }],
});
const ppo = (changes: Plain): Plain => ({
  stages: [
    {
      name: "learn",
      type: "ppo",
      ppo: { data: task, steps: 1, rewards: [{ name: "answer", type: "exact" }], ...changes },
    },
  ],
});
const reward = (changes: Plain): Plain => grpo({ rewards: [{ name: "answer", type: "exact", ...changes }] });

/** What is wrong, and the part of `spec` that is. */
const CASES: readonly (readonly [string, Plain])[] = [
  ["no model", { model: undefined }],
  ["a model from files and new at once", { model: { from: "hf://org/name", init: init({}) } }],
  ["a model without a width", { model: { init: init({ hiddenSize: undefined }) } }],
  ["a width of 1", { model: { init: init({ hiddenSize: 1 }) } }],
  ["an unknown family", { model: { init: init({ architecture: "gpt" }) } }],
  ["an epsilon of 0", { model: { init: init({ rmsNormEps: 0 }) } }],
  ["a tokenizer without its block", { model: { init: init({ tokenizer: { type: "characters" } }) } }],
  ["no stages", { stages: [] }],
  ["a stage of an unknown type", { stages: [{ name: "a", type: "dpo" }] }],
  ["a stage without its block", { stages: [{ name: "a", type: "sft" }] }],
  ["a stage with the block of another type", { stages: [{ name: "a", type: "sft", grpo: {} }] }],
  ["two stages of one name", { stages: [stage("a"), stage("a")] }],
  ["a stage name with capitals", { stages: [stage("Warm")] }],
  ["a scorer without its address", reward({ type: "http" })],
  ["a scorer's password in its address", reward({ type: "http", http: { url: "http://a:b@host/" } })],
  ["a scorer's address without a port", reward({ type: "grpc", grpc: { address: "host" } })],
  ["an ensemble of one", reward({ type: "ensemble", ensemble: { from: ["stage/rm"] } })],
  [
    "the end of steps that a reward model does not score",
    reward({ type: "model", model: { from: "stage/rm", stepEnd: "." } }),
  ],
  ["call settings for a verifier", reward({ service: { batchSize: 8 } })],
  [
    "Oarlock's own setting as a scorer's token",
    reward({ type: "http", http: { url: "http://host/" }, service: { tokenEnv: "NATS_URL" } }),
  ],
  [
    "a certificate without its key",
    reward({ type: "http", http: { url: "https://host/" }, service: { tls: { certFile: "me.crt" } } }),
  ],
  ["bounds of a score in the wrong order", reward({ clip: { min: 1, max: 0 } })],
  ["no steps", sft({ steps: 0 })],
  ["steps as text", sft({ steps: "20" })],
  ["half a step", sft({ steps: 1.5 })],
  ["a batch of 0", sft({ batchSize: 0 })],
  ["a slip of the pen", sft({ batchsize: 8 })],
  ["a learning rate of 11", sft({ optimizer: { learningRate: 11 } })],
  ["a rate in words", sft({ optimizer: { learningRate: "3e-4" } })],
  ["beta2 of 1", sft({ optimizer: { beta2: 1 } })],
  ["an unknown schedule", sft({ optimizer: { schedule: "step" } })],
  ["data of an unknown task", sft({ data: { type: "task", task: { name: "poetry" } } })],
  ["data of the hub without its scheme", sft({ data: { type: "hub", hub: { dataset: "org/name" } } })],
  ["topP of 0", grpo({ sampling: { topP: 0 } })],
  ["a negative temperature", grpo({ sampling: { temperature: -1 } })],
  ["no rewards", grpo({ rewards: [] })],
  ["two rewards of one name", grpo({ rewards: [named("a"), named("a")] })],
  ["a reward of an unknown type", reward({ type: "bleu" })],
  ["a reward with the block of another type", reward({ regex: { pattern: "x" } })],
  ["a deadline of 0", reward({ timeoutMs: 0 })],
  ["a ranking of one answer", judge({ loss: "all-pairs", answers: 1 })],
  ["the end of steps for a loss over pairs", judge({ stepEnd: "." })],
  ["rows that are mixed in without a weight", ppo({ ptx: { data: task } })],
  ["a guard that watches nothing known", grpo({ guards: [{ name: "g", watch: "mood", reaction: "stop" }] })],
  ["a guard without a reaction", grpo({ guards: [{ name: "g", watch: "kl" }] })],
  ["lag of 9", { pipeline: { lag: 9 } }],
  ["lag in streaming mode", { pipeline: { mode: "streaming", lag: 1 } }],
  ["staleness in lockstep", { pipeline: { maxStaleness: 4 } }],
  ["staleness of 0", { pipeline: { mode: "streaming", maxStaleness: 0 } }],
  [
    "a correction of no level with bounds",
    { pipeline: { mode: "streaming", correction: { level: "none", maxRatio: 3 } } },
  ],
  ["an unknown mode", { pipeline: { mode: "chaos" } }],
  ["an unknown manager", { managedBy: "me" }],
  ["an unknown provider", { compute: { provider: "tpu" } }],
  ["checkpoints every 0 steps", { checkpoints: { every: 0 } }],
  ["a trap that does not exist", { allow: ["EVERYTHING"] }],
  ["two learners", { roles: [{ name: "learner", replicas: 2 }] }],
  ["a learner that scales", { roles: [{ name: "learner", maxReplicas: 2 }] }],
  ["bounds that cross", { roles: [{ name: "actor", minReplicas: 4, maxReplicas: 2 }] }],
  ["an unknown role", { roles: [{ name: "critic" }] }],
  ["a quantity without quotes", { roles: [{ name: "actor", resources: { requests: { cpu: 2 } } }] }],
  ["a quantity of no kind", { roles: [{ name: "actor", resources: { limits: { memory: "4 GB" } } }] }],
  ["a message server by http", { nats: { url: "http://nats:4222" } }],
  ["a message server with its password", { nats: { url: "nats://me:secret@nats:4222" } }],
  ["a message server without an address", { nats: {} }],
  ["two message servers", { nats: { url: "nats://nats:4222", managed: {} } }],
  ["TLS of its own for the run's own message server", { nats: { managed: {}, tls: { secretName: "a" } } }],
  ["TLS without whose certificates", { security: { tls: { type: "secret" } } }],
  [
    "TLS of a type with the block of another",
    { security: { tls: { type: "runCA", secret: { name: "mine" } } } },
  ],
  ["certificates that last for ever", { security: { tls: { type: "runCA", runCA: { validDays: 0 } } } }],
  [
    "an issuer of an unknown kind",
    { security: { tls: { type: "certManager", certManager: { issuerRef: { name: "a", kind: "CA" } } } } },
  ],
  ["checkpoints that may be lost", { storage: { type: "emptyDir", emptyDir: { acceptLoss: false } } }],
  ["a bucket without its size", { storage: { type: "objectStore", objectStore: {} } }],
  ["a claim without its name", { storage: { type: "claim", claim: {} } }],
];

function init(changes: Plain): Plain {
  const tokenizer = { type: "characters", characters: { alphabet: "01+=" } };
  return {
    hiddenSize: 64,
    intermediateSize: 128,
    layers: 2,
    heads: 4,
    maxPositions: 32,
    tokenizer,
    ...changes,
  };
}

function stage(name: string): Plain {
  return { name, type: "sft", sft: { data: task, steps: 1 } };
}

function named(name: string): Plain {
  return { name, type: "exact" };
}

describe.skipIf(kube.absent)(`refusals${kube.note}`, () => {
  let plane: ControlPlane;
  let api: Api;

  beforeAll(async () => {
    plane = await startControlPlane();
    api = createApi({ url: plane.url, certificate: plane.certificate, token: plane.token() });
    await plane.kubectl(["apply", "-k", join(repositoryRoot(), "deploy/k8s/crds")]);
    await plane.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=20s"]);
  });
  afterAll(async () => {
    api.close();
    await plane[Symbol.asyncDispose]();
  });

  const runOf = (spec: Plain): object => ({
    apiVersion: "oarlock.dev/v1alpha1",
    kind: "TrainingRun",
    metadata: { name: "wrong" },
    spec: { model: { from: "hf://org/name" }, stages: [stage("warm")], ...spec },
  });
  const byServer = async (run: object): Promise<string> => {
    const { code, body } = await api.request<Status>("POST", RUNS, { body: run });
    if (code < 300) return "";
    const causes = (body.details?.causes ?? []).filter(
      ({ message }) => !/rules were not checked/.test(message),
    );
    const [first] = causes;
    return first === undefined ? (body.message ?? "") : `${first.field}: ${first.message}`;
  };
  const byCommand = (run: object): string => {
    const read = readRunFile(JSON.stringify(run), { file: "run.json" });
    return read.ok ? "" : formatProblem(read.problems[0]!).replace(/^run\.json:\d+:\d+: /, "");
  };

  it("come from both sides for every row, in words of the same thing", async () => {
    expect(await byServer(runOf({}))).toBe("");
    expect(byCommand(runOf({}))).toBe("");
    const rows: string[] = [];
    for (const [title, spec] of CASES) {
      const run = runOf(spec);
      const [server, command] = [await byServer(run), byCommand(run)];
      expect({ title, server, command }).toMatchObject({
        server: expect.stringMatching(/./),
        command: expect.stringMatching(/./),
      });
      rows.push(
        `### ${title[0]?.toUpperCase()}${title.slice(1)}\n\n- \`kubectl\`: ${server}\n- \`oarlock\`: ${command}\n`,
      );
    }
    const head =
      "# What a wrong run is told\n\nThe same run given to `kubectl apply` and to `oarlock validate --shallow`; the first of what each says. Written by\n`tests/kube/refusals.test.ts`.\n";
    const page = [head, ...rows].join("\n");
    await expect(page).toMatchFileSnapshot(join(repositoryRoot(), "docs/refusals.md"));
  });
});
