/** The gRPC server that every service of a run has, and what each says of itself. */
import { RpcServer } from "@oarlock/rpc";
import type { DeviceFacts, ServiceFacts } from "@oarlock/run";
import type { ResolvedRun } from "@oarlock/runfile";
import { processWaits, startLoopDelayMonitor } from "@oarlock/runtime";
import type { Clock, Lifecycle, Log, Telemetry } from "@oarlock/runtime";
import type { ServiceConfig } from "./service-config.ts";

export interface ServedParts {
  readonly config: ServiceConfig;
  readonly run: ResolvedRun;
  readonly lifecycle: Lifecycle;
  /** What it computes on, where that was probed. */
  readonly device?: DeviceFacts;
  readonly clock: Clock;
  readonly log: Log;
  readonly telemetry: Telemetry;
}

/** What does not depend on the service. */
export type CommonFacts = Omit<ServiceFacts, "queues" | "draining">;

export interface ServedService {
  readonly server: RpcServer;
  /** `host:port` of the server. */
  readonly address: string;
}

/** Starts the server with the handlers that `add` gives it. It closes with the lifecycle, after all that is added to that later. */
export async function serveService(
  { config, run, lifecycle, device, clock, log, telemetry }: ServedParts,
  add: (server: RpcServer, facts: () => CommonFacts) => void,
): Promise<ServedService> {
  const startedMs = clock.monotonicMs();
  const monitor = startLoopDelayMonitor();
  const server = new RpcServer({ host: config.host, port: config.port, log, telemetry, ...config.security });
  add(server, () => ({
    instance: config.instance,
    version: run.inputs.engine.oarlock,
    uptimeMs: clock.monotonicMs() - startedMs,
    waits: processWaits.open(),
    loopDelay: monitor.read(),
    fingerprintDigest: run.digest,
    device,
  }));
  const address = await server.listen();
  lifecycle.onEnd("loop delay monitor", () => monitor.stop());
  lifecycle.onEnd("gRPC server", () => server.close());
  return { server, address };
}
