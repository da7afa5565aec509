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

/** Asks the learner in a pod; undefined where it does not answer. `tls`: as whom, where it serves no plain text. */
export interface LearnerClient {
  ask(pods: readonly Pod[], tls?: TlsOptions): Promise<LearnerReport | undefined>;
  /** Has a checkpoint written; true once it is durable, false where no learner could be reached. */
  checkpoint(pods: readonly Pod[], tls?: TlsOptions): Promise<boolean>;
  close(): void;
}

/** A learner that is busy still answers within this (P1). */
const ASK_TIMEOUT_MS = 2_000;
/** A step, and the writing of a checkpoint after it. */
const CHECKPOINT_TIMEOUT_MS = 600_000;

/** A client with a channel per learner's address. */
export function createLearnerClient(): LearnerClient {
  const channels = new Map<string, { readonly channel: RpcChannel; readonly cert: string | undefined }>();
  const close = (address: string): void => {
    channels.get(address)?.channel.close();
    channels.delete(address);
  };
  const channelTo = (address: string, tls: TlsOptions | undefined): RpcChannel => {
    const known = channels.get(address);
    if (known !== undefined && known.cert === tls?.cert) return known.channel;
    close(address);
    const channel = openChannel(address, tls === undefined ? {} : { tls });
    channels.set(address, { channel, cert: tls?.cert });
    return channel;
  };
  return {
    async ask(pods, tls) {
      const left = pods.map(lastReport).find((report) => report !== undefined);
      if (left !== undefined) return left;
      const address = addressIn(pods);
      if (address === undefined) return undefined;
      try {
        const client = channelTo(address, tls).client(LearnerService);
        const { run, service } = await client.getRunStatus({}, { timeoutMs: ASK_TIMEOUT_MS });
        return run === undefined ? undefined : reportOf(run, service);
      } catch {
        // A learner that starts, ends or is cut off: the pod's own state says which. The channel may be to a pod that is gone.
        close(address);
        return undefined;
      }
    },
    async checkpoint(pods, tls) {
      const address = addressIn(pods);
      if (address === undefined) return false;
      try {
        await channelTo(address, tls)
          .client(LearnerService)
          .checkpointNow({}, { timeoutMs: CHECKPOINT_TIMEOUT_MS });
        return true;
      } catch {
        // The wish stands: the next look asks again.
        return false;
      }
    },
    close() {
      for (const { channel } of channels.values()) channel.close();
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
