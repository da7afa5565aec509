/** Composition root of the controller: opens the API, waits for the lead, reconciles until told to end. */
import { acquireLead, type Connection, createHttpClient, type KubeClient } from "@oarlock/kube";
import type { Clock, Lifecycle, Log } from "@oarlock/runtime";
import { CHILDREN, type ConfigMap } from "./api.ts";
import type { ControllerConfig } from "./config.ts";
import { type Cleaner, createRunController, type RunController } from "./controller.ts";
import { servePages } from "./handlers.ts";
import { createLearnerClient } from "./learner-client.ts";
import { createPlanner, type PlannerOptions } from "./planner.ts";
import { createNatsAccess } from "./nats/access.ts";
import { createNatsCredentials } from "./nats/credentials.ts";
import { createIdentities } from "./tls/identities.ts";

export interface ControllerParts {
  readonly config: ControllerConfig;
  readonly connection: Connection;
  readonly cleaner?: Cleaner;
  readonly lifecycle: Lifecycle;
  readonly clock: Clock;
  readonly log: Log;
}

export interface RunningController {
  /** `host:port` of its pages. */
  readonly address: string;
  readonly runs: RunController;
  /** Settles when it has ended; rejects when the lead was lost: the process must exit then. */
  readonly stopped: Promise<void>;
}

/** Name of the Lease that the leader holds. */
const LEASE = "oarlock-controller";

/** Starts a controller. */
export async function startController(parts: ControllerParts): Promise<RunningController> {
  const { config, connection, lifecycle, clock, log, cleaner } = parts;
  const client = createHttpClient(connection, (made) => runs.controller.metrics.requested(made));
  const learners = createLearnerClient();
  const runs: RunController = createRunController({
    client,
    settings: config.children,
    planner: createPlanner({
      command: config.planner,
      withNats: createNatsAccess({ client, ...config.children }),
      configMap: readConfigMap(client),
    }),
    learners,
    credentials: createNatsCredentials(client),
    identities: createIdentities(client, config.children.namespace),
    clock,
    log,
    ...(cleaner === undefined ? {} : { cleaner }),
    ...(config.watchNamespace === undefined ? {} : { namespace: config.watchNamespace }),
  });
  let leads = false;
  const pages = await servePages(
    {
      ready: () => !leads || runs.synced(),
      metrics: () => runs.controller.metrics.render({ lease: LEASE, held: leads }),
    },
    config,
  );
  const stopping = new AbortController();
  const serve = async (): Promise<void> => {
    const lead = await leadOf(parts, client, stopping.signal);
    leads = true;
    const work = runs.run(stopping.signal);
    await (lead === undefined ? work : Promise.race([work, lead.lost]));
    await lead?.release();
  };
  const stopped = serve().catch((reason: unknown) => {
    // Told to end while it waited for the lead: that is an orderly end.
    if (!stopping.signal.aborted) throw reason;
  });
  stopped.catch(() => undefined);
  lifecycle.onEnd("learner channels", () => learners.close());
  lifecycle.onEnd("pages", () => pages.close());
  lifecycle.onEnd("reconciles", async () => {
    stopping.abort();
    await stopped;
  });
  log.info("controller serves", { identity: config.identity, pages: pages.address });
  return { address: pages.address, runs, stopped };
}

function readConfigMap(client: KubeClient): PlannerOptions["configMap"] {
  return async (namespace, name, signal) => {
    const found = await client.get<ConfigMap>(CHILDREN.ConfigMap, { namespace, name }, signal);
    if (found === undefined) return undefined;
    const texts = Object.entries(found.data ?? {}).map(([key, text]) => [key, Buffer.from(text)] as const);
    const binary = Object.entries(found.binaryData ?? {});
    return new Map([...texts, ...binary.map(([key, text]) => [key, Buffer.from(text, "base64")] as const)]);
  };
}

async function leadOf(
  { config, clock, log }: ControllerParts,
  client: KubeClient,
  signal: AbortSignal,
): Promise<Awaited<ReturnType<typeof acquireLead>> | undefined> {
  if (!config.elect) return undefined;
  const { identity, leaseSeconds = 15 } = config;
  const lease = { namespace: config.children.namespace, name: LEASE };
  // Kubernetes' own proportions: of 15 s, 10 to renew it in, one attempt every 2.
  const times = {
    leaseSeconds,
    renewDeadlineMs: (leaseSeconds * 2_000) / 3,
    retryMs: (leaseSeconds * 2_000) / 15,
  };
  return acquireLead({ client, lease, identity, ...times, clock, log }, signal);
}
