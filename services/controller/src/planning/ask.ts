/** Asks the pod of a run's planning Job what it found; until it answers, says what it waits for. */
import { get } from "node:http";
import { OarlockError } from "@oarlock/errors";
import type { Job, Pod } from "../api.ts";
import { GRPC_PORT } from "../children/settings.ts";
import { childName, ROLE_LABEL } from "../names.ts";
import { isReady, livePods, type Observed, type PlanOutcome } from "../observed.ts";
import { whyNotReady } from "../situation.ts";
import { PLANNER } from "./job.ts";

/** What the command line said and how it ended. */
export interface Execution {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export type Asked =
  | { readonly type: "executed"; readonly execution: Execution }
  | Extract<PlanOutcome, { readonly type: "waiting" }>;

const TIMEOUT_MS = 10_000;
const MAX_BYTES = 32 * 1024 * 1024;

/** One look at the pod. */
export async function askPlanner(
  seen: Observed,
  signal: AbortSignal,
  port: number = GRPC_PORT,
): Promise<Asked> {
  const pods = livePods(seen.pods).filter(({ metadata }) => metadata.labels?.[ROLE_LABEL] === PLANNER);
  const ready = pods.find(isReady)?.status?.podIP;
  if (ready !== undefined) return { type: "executed", execution: await fetchExecution(ready, port, signal) };
  return { type: "waiting", message: whatKeeps(seen, pods) };
}

function whatKeeps({ run, children }: Observed, pods: readonly Pod[]): string {
  // The key names the kind.
  const job = children.get(`Job/${childName(run.metadata.name, PLANNER)}`) as Job | undefined;
  const failed = job?.status?.conditions?.find(({ type, status }) => type === "Failed" && status === "True");
  if (failed !== undefined)
    return `the Job that plans gave up: ${failed.message ?? "see its pods"}; delete it to have another try`;
  const [pod] = pods;
  if (pod === undefined) return "the pod that plans is being made";
  const { reason, message } = whyNotReady(pod);
  return reason === "Starting" ? `${pod.metadata.name} looks at model and data` : message;
}

function fetchExecution(podIp: string, port: number, signal: AbortSignal): Promise<Execution> {
  const host = podIp.includes(":") ? `[${podIp}]` : podIp;
  const failed = (cause: unknown): OarlockError =>
    new OarlockError("PLAN_FAILED", `the pod that plans does not answer at ${host}`, {
      retryable: true,
      cause,
    });
  return new Promise((resolve, reject) => {
    const request = get(`http://${host}:${port}/`, { signal, timeout: TIMEOUT_MS, agent: false });
    request.on("timeout", () => request.destroy(new Error("too late")));
    request.on("error", (cause) => reject(failed(cause)));
    request.on("response", (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size > MAX_BYTES) request.destroy(new Error("too long"));
        else chunks.push(chunk);
      });
      response.on("error", (cause) => reject(failed(cause)));
      response.on("end", () => {
        try {
          resolve(executionIn(Buffer.concat(chunks).toString()));
        } catch (cause) {
          reject(failed(cause));
        }
      });
    });
  });
}

function executionIn(text: string): Execution {
  const told: unknown = JSON.parse(text);
  const { code, stdout, stderr } = Object(told) as Partial<Record<keyof Execution, unknown>>;
  if (typeof code !== "number" || typeof stdout !== "string" || typeof stderr !== "string")
    throw new TypeError("not an execution of the command line");
  return { code, stdout, stderr };
}
