/** Opening the JetStream driver: connects with patience, and refuses servers that cannot keep the contract. */
import { causeChain, OarlockError, withoutCredentials } from "@oarlock/errors";
import { backoffMs, processWaits, retry, silentLog } from "@oarlock/runtime";
import type { Log, WaitRegistry } from "@oarlock/runtime";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { JetStreamUsageAccountLimits } from "@nats-io/jetstream";
import { connect, credsAuthenticator, errors } from "@nats-io/transport-node";
import type { NatsConnection, NodeConnectionOptions } from "@nats-io/transport-node";
import type { Bus } from "../types.ts";
import { Broker } from "./broker.ts";
import { JetStreamBus } from "./bus.ts";
import type { NatsOptions } from "./config.ts";
import { canServe, OLDEST_SERVER } from "./server-version.ts";

export interface JetStreamBusOptions extends NatsOptions {
  /** Who connects, for the server's own pages: "actor-0". */
  readonly name?: string;
  /** For the first connection: a server that is still starting. Default 30 000. */
  readonly connectTimeoutMs?: number;
  /** How long an operation waits for a server that is away. Default 60 000. */
  readonly patienceMs?: number;
  /** One request. Default 5 000. */
  readonly requestTimeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly registry?: WaitRegistry;
  readonly log?: Log;
}

const DIAL_TIMEOUT_MS = 3_000;
const PING_INTERVAL_MS = 10_000;
const MAX_RECONNECT_MS = 1_000;
const MAX_GROWTH = 8;

/**
 * Connects to a NATS server with JetStream.
 *
 * @throws OarlockError `BUS_UNREACHABLE`, `BUS_REFUSED` (who we are was not accepted), `BUS_SERVER_TOO_OLD`,
 * `BUS_JETSTREAM_DISABLED`.
 */
export async function connectJetStreamBus(options: JetStreamBusOptions): Promise<Bus> {
  return new JetStreamBus(await openBroker(options));
}

/** What a server lets whoever asks store. */
export interface JetStreamAccount {
  readonly serverVersion: string;
  readonly streams: number;
  readonly storedBytes: number;
  /** Promised to streams and buckets whose size is bounded. */
  readonly reservedBytes: number;
  /** The account's own limits; undefined: none. The disk and the server's limit are not told. */
  readonly maxBytes?: number;
  readonly maxStreams?: number;
}

/** Asks a server, and leaves it. @throws as `connectJetStreamBus`. */
export async function readJetStreamAccount(options: JetStreamBusOptions): Promise<JetStreamAccount> {
  const broker = await openBroker(options);
  try {
    const { manager, connection, replicas } = broker.parts;
    const { tiers, ...all } = await broker.call("tell its account", () => manager.getAccountInfo());
    // Limits of an account are its own, or by number of copies.
    const usage: Usage = (replicas > 1 ? tiers?.R3 : tiers?.R1) ?? all;
    const { max_storage: maxBytes, max_streams: maxStreams } = usage.limits;
    return {
      serverVersion: connection.info?.version ?? "",
      streams: usage.streams,
      storedBytes: usage.storage,
      reservedBytes: usage.reserved_storage ?? 0,
      ...(maxBytes < 0 ? {} : { maxBytes }),
      ...(maxStreams < 0 ? {} : { maxStreams }),
    };
  } finally {
    await broker.close();
  }
}

/** The server tells more than the client's types. */
type Usage = JetStreamUsageAccountLimits & { readonly reserved_storage?: number };

async function openBroker(options: JetStreamBusOptions): Promise<Broker> {
  const { registry = processWaits, log = silentLog, requestTimeoutMs = 5_000, patienceMs = 60_000 } = options;
  const connection = await dial(options, registry);
  try {
    checkVersion(connection);
    const settings = { timeout: requestTimeoutMs };
    const manager = await jetstreamManager(connection, { ...settings, checkAPI: false });
    const broker = new Broker({
      connection,
      manager,
      client: jetstream(connection, settings),
      replicas: options.replicas ?? 1,
      requestTimeoutMs,
      patienceMs,
      registry,
      log,
    });
    await checkJetStream(broker);
    void tell(connection, log);
    return broker;
  } catch (reason) {
    await connection.close();
    throw reason;
  }
}

async function dial(options: JetStreamBusOptions, registry: WaitRegistry): Promise<NatsConnection> {
  const { connectTimeoutMs = 30_000, signal } = options;
  const servers = withoutCredentials(options.servers);
  const settings = connectionOptions(options);
  try {
    return await retry(`a NATS server at ${servers}`, () => connect(settings), {
      timeoutMs: connectTimeoutMs,
      registry,
      maxMs: 1_000,
      retryable: (reason) => !isRefusal(reason),
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (cause) {
    signal?.throwIfAborted();
    const refused = isRefusal(cause);
    const what = refused
      ? `the NATS server at ${servers} does not accept our credentials or certificate`
      : `no NATS server answers at ${servers}`;
    throw new OarlockError(
      refused ? "BUS_REFUSED" : "BUS_UNREACHABLE",
      `${what}: ${causeChain(cause).at(-1) ?? ""}`,
      { cause },
    );
  }
}

function connectionOptions(options: JetStreamBusOptions): NodeConnectionOptions {
  const { servers, name, credentials, user, password = "", token, tls } = options;
  let failures = 0;
  return {
    servers: servers.split(",").map((server) => server.trim()),
    timeout: DIAL_TIMEOUT_MS,
    maxReconnectAttempts: -1,
    // Asked once before each attempt, and not told of success: the pause grows to its cap over the life of a process.
    reconnectDelayHandler: () =>
      backoffMs(Math.min(failures++, MAX_GROWTH), { baseMs: 100, maxMs: MAX_RECONNECT_MS }),
    pingInterval: PING_INTERVAL_MS,
    noAsyncTraces: true,
    ...(name === undefined ? {} : { name }),
    ...(credentials === undefined ? {} : { authenticator: credsAuthenticator(credentials) }),
    ...(user === undefined ? {} : { user, pass: password }),
    ...(token === undefined ? {} : { token }),
    ...(tls === undefined ? {} : { tls: { ...tls } }),
  };
}

/** Waiting changes nothing about who we are, nor about how an address is written. */
function isRefusal(reason: unknown): boolean {
  for (let at = reason; at instanceof Error; at = at.cause) {
    if (
      at instanceof errors.AuthorizationError ||
      at instanceof errors.UserAuthenticationExpiredError ||
      at instanceof errors.InvalidArgumentError ||
      ("code" in at && typeof at.code === "string" && /CERT|TLS|SELF_SIGNED|UNABLE_TO_/.test(at.code))
    )
      return true;
  }
  return false;
}

function checkVersion(connection: NatsConnection): void {
  const version = connection.info?.version ?? "";
  if (canServe(version)) return;
  throw new OarlockError(
    "BUS_SERVER_TOO_OLD",
    `nats-server ${version || "of unknown version"} at ${connection.getServer()}; accepted: ${OLDEST_SERVER} or newer`,
  );
}

/** A server that restarts answers after a while; one without JetStream never does. */
async function checkJetStream(broker: Broker): Promise<void> {
  const { manager, connection } = broker.parts;
  if (connection.info?.jetstream === true) {
    await broker.call("offer JetStream", () => manager.getAccountInfo());
    return;
  }
  throw new OarlockError(
    "BUS_JETSTREAM_DISABLED",
    `nats-server at ${connection.getServer()} runs without JetStream; start it with --jetstream`,
  );
}

/** What happens to the connection, as log lines. */
async function tell(connection: NatsConnection, log: Log): Promise<void> {
  for await (const status of connection.status()) {
    if (status.type === "disconnect")
      log.warn("lost the NATS server, reconnecting", { server: status.server });
    if (status.type === "reconnect") log.info("reached the NATS server again", { server: status.server });
    if (status.type === "error") log.warn("the NATS server reports an error", { err: status.error });
  }
}
