/**
 * Controllers as processes of their own that compete for the lead of one control plane, and how long a run goes unlooked at when
 * the one that leads goes. Needs `npm run build`.
 */
import { join } from "node:path";
import {
  createHttpClient,
  type Connection,
  type KubeClient,
  type KubeObject,
  type Resource,
} from "@oarlock/kube";
import {
  type ControlPlane,
  eventually,
  freePort,
  repositoryRoot,
  type ServerProcess,
  startProcess,
} from "@oarlock/testkit";

const TRAINING_RUNS: Resource = {
  apiVersion: "oarlock.dev/v1alpha1",
  kind: "TrainingRun",
  plural: "trainingruns",
};

export interface Candidate extends ServerProcess {
  readonly identity: string;
  /** What it says of itself on its metrics page. */
  leads(): Promise<boolean>;
  /** Its metrics page. */
  page(): Promise<string>;
}

/** Starts a controller that waits for the lead; `more` are settings of its environment. */
export async function startCandidate(
  plane: ControlPlane,
  identity: string,
  more: Readonly<Record<string, string>>,
): Promise<Candidate> {
  const port = await freePort();
  const settings = {
    KUBECONFIG: plane.kubeconfig(),
    OARLOCK_INSTANCE: identity,
    OARLOCK_NAMESPACE: "default",
    OARLOCK_PORT: String(port),
    ...more,
  };
  const words = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  const program = join(repositoryRoot(), "services/controller/bin/oarlock-controller.js");
  const process_ = startProcess(identity, "env", [...words, process.execPath, program]);
  const page = async (): Promise<string> => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  await eventually(`${identity} to serve`, page, { timeoutMs: 60_000 });
  return {
    ...process_,
    identity,
    page,
    leads: async () => /^leader_election_master_status\{[^}]*\} 1$/m.test(await page()),
  };
}

/** Waits until one of them leads. */
export async function leaderOf(candidates: readonly Candidate[]): Promise<Candidate> {
  return eventually(
    "a leader",
    async () => {
      const leads = await Promise.all(candidates.map((candidate) => candidate.leads()));
      return candidates[leads.indexOf(true)];
    },
    { timeoutMs: 120_000, everyMs: 50 },
  );
}

/** Seconds until the other one leads, and until a run that was made meanwhile has a status. */
export interface FailOver {
  readonly leadSeconds: number;
  readonly statusSeconds: number;
}

/** Ends the leader and measures. The run has no message server: its status is one write, and nothing is made for it. */
export async function failOver(
  connection: Connection,
  { name, end, next }: { readonly name: string; readonly end: () => unknown; readonly next: Candidate },
): Promise<FailOver> {
  const client: KubeClient = createHttpClient(connection);
  const ref = { namespace: "default", name };
  const startMs = performance.now();
  end();
  await client.create(TRAINING_RUNS, waitingRun(name));
  const lead = leaderOf([next]).then(() => performance.now());
  await eventually(
    "the status of the run",
    async () => (await client.get<KubeObject & { status?: object }>(TRAINING_RUNS, ref))?.status,
    { timeoutMs: 120_000, everyMs: 50 },
  );
  const statusMs = performance.now();
  return { leadSeconds: ((await lead) - startMs) / 1_000, statusSeconds: (statusMs - startMs) / 1_000 };
}

function waitingRun(name: string): KubeObject {
  const { apiVersion, kind } = TRAINING_RUNS;
  const data = { type: "task", task: { name: "addition" } };
  const spec = {
    model: { from: "hf://org/name" },
    stages: [{ name: "warm", type: "sft", sft: { data, steps: 1 } }],
  };
  return { apiVersion, kind, metadata: { name, namespace: "default" }, spec } as KubeObject;
}
