/** Asks a learner how its run goes, over its gRPC API, and reads what it left in its pod when it ended. */
import { subjects } from "@oarlock/bus";
import { LearnerService } from "@oarlock/proto";
import type { RunStatus as RunStatusMessage, ServiceStatus } from "@oarlock/proto";
import { openChannel } from "@oarlock/rpc";
import type { RpcChannel, TlsOptions } from "@oarlock/rpc";
import { runPhaseName } from "@oarlock/run";
import type { Pod } from "./api.ts";
import { GRPC_PORT } from "./children/settings.ts";
import { isReady } from "./observed.ts";
import type { LearnerReport } from "./report.ts";

/** Asks learners, by the pods of their runs. `tls`: as whom, where they serve no plain text. */
export interface LearnerClient {
  /** Of the run with that key; undefined where its learner does not answer. */
  ask(key: string, pods: readonly Pod[], tls?: TlsOptions): Promise<LearnerReport | undefined>;
  /** Has a checkpoint written; true once it is durable, false where no learner could be reached. */
  checkpoint(pods: readonly Pod[], tls?: TlsOptions): Promise<boolean>;
  /** Closes what is open for a run. */
  forget(key: string): void;
  close(): void;
}

/** A learner that is busy still answers within this (P1). */
const ASK_TIMEOUT_MS = 2_000;
/** A step, and the writing of a checkpoint after it. */
const CHECKPOINT_TIMEOUT_MS = 600_000;

interface Line {
  readonly address: string;
  readonly cert: string | undefined;
  readonly channel: RpcChannel;
}

/** A client with a channel per run whose learner serves. */
export function createLearnerClient(open: typeof openChannel = openChannel): LearnerClient {
  const lines = new Map<string, Line>();
  const forget = (key: string): void => {
    lines.get(key)?.channel.close();
    lines.delete(key);
  };
  const channelTo = (address: string, tls: TlsOptions | undefined): RpcChannel =>
    open(address, tls === undefined ? {} : { tls });
  const lineOf = (key: string, address: string, tls: TlsOptions | undefined): RpcChannel => {
    const known = lines.get(key);
    if (known?.address === address && known.cert === tls?.cert) return known.channel;
    forget(key);
    const channel = channelTo(address, tls);
    lines.set(key, { address, cert: tls?.cert, channel });
    return channel;
  };
  return {
    async ask(key, pods, tls) {
      const left = pods.map(lastReport).find((report) => report !== undefined);
      const address = left === undefined ? addressIn(pods) : undefined;
      if (address === undefined) {
        forget(key);
        return left;
      }
      try {
        const client = lineOf(key, address, tls).client(LearnerService);
        const { run, service } = await client.getRunStatus({}, { timeoutMs: ASK_TIMEOUT_MS });
        return run === undefined ? undefined : reportOf(run, service);
      } catch {
        // A learner that starts, ends or is cut off: the pod's own state says which. The channel may be to a pod that is gone.
        forget(key);
        return undefined;
      }
    },
    async checkpoint(pods, tls) {
      const address = addressIn(pods);
      if (address === undefined) return false;
      using channel = channelTo(address, tls);
      try {
        await channel.client(LearnerService).checkpointNow({}, { timeoutMs: CHECKPOINT_TIMEOUT_MS });
        return true;
      } catch {
        // The wish stands: the next look asks again.
        return false;
      }
    },
    forget,
    close() {
      for (const key of lines.keys()) forget(key);
    },
  };
}

function addressIn(pods: readonly Pod[]): string | undefined {
  const pod = pods.find(isReady);
  return pod && addressOf(pod);
}

/** Where a pod's gRPC server listens. */
export function addressOf({ status }: Pod): string | undefined {
  const ip = status?.podIP;
  return ip === undefined ? undefined : `${ip.includes(":") ? `[${ip}]` : ip}:${GRPC_PORT}`;
}

function reportOf(run: RunStatusMessage, service: ServiceStatus | undefined): LearnerReport {
  const { remaining, policy, lastCheckpointStep, traceId } = run;
  // A work queue keeps an item until it is answered.
  const work = service?.queues.find(({ name }) => name === `messages in ${subjects(run.runUid).workStream}`);
  return {
    phase: runPhaseName(run.phase) ?? "starting",
    message: run.message,
    stage: run.stage,
    step: run.step,
    policyVersion: policy?.version ?? 0,
    policyDigest: policy?.digest ?? "",
    ...(remaining === undefined ? {} : { remainingSeconds: Number(remaining.seconds) }),
    metrics: run.metrics,
    ...(lastCheckpointStep === 0 ? {} : { checkpointStep: lastCheckpointStep }),
    ...(traceId === "" ? {} : { traceId }),
    ...(work === undefined ? {} : { unansweredGroups: Number(work.depth) }),
  };
}

/** The report that a learner wrote as its pod's termination message when its run was complete. */
function lastReport({ status }: Pod): LearnerReport | undefined {
  const message = status?.containerStatuses?.[0]?.state?.terminated?.message;
  if (status?.phase !== "Succeeded" || message === undefined) return undefined;
  try {
    const report: unknown = JSON.parse(message);
    return isReport(report) ? report : undefined;
  } catch {
    // Another image may leave other words there.
    return undefined;
  }
}

function isReport(value: unknown): value is LearnerReport {
  if (typeof value !== "object" || value === null) return false;
  const fields = ["phase", "message", "stage", "step", "policyVersion", "policyDigest", "metrics"];
  return fields.every((field) => field in value);
}
