/**
 * One connection to a NATS server and how its failures are read: what may pass is tried again for a while (a server that
 * restarts, a leader that moves), what will not is an error of ours. It does not know streams or buckets.
 */
import { setMaxListeners } from "node:events";
import { OarlockError } from "@oarlock/errors";
import { retry } from "@oarlock/runtime";
import type { Log, WaitRegistry } from "@oarlock/runtime";
import { JetStreamApiError } from "@nats-io/jetstream";
import type { JetStreamClient, JetStreamManager } from "@nats-io/jetstream";
import { errors } from "@nats-io/transport-node";
import type { NatsConnection } from "@nats-io/transport-node";

/** What every part of the driver is given. */
export interface BrokerParts {
  readonly connection: NatsConnection;
  readonly client: JetStreamClient;
  readonly manager: JetStreamManager;
  readonly replicas: number;
  /** One request. */
  readonly requestTimeoutMs: number;
  /** One operation with all its attempts: how long a server may be gone. */
  readonly patienceMs: number;
  readonly registry: WaitRegistry;
  readonly log: Log;
}

/** What every operation of a server in trouble would say is said once in so long. */
const QUIET_MS = 10_000;

/** Codes of the JetStream API that we act on. */
export const API = {
  consumerNotFound: 10_014,
  noMessage: 10_037,
  sequenceNotFound: 10_043,
  insufficientStorage: 10_047,
  streamNameTaken: 10_058,
  streamNotFound: 10_059,
  subjectsOverlap: 10_065,
  wrongLastSequence: 10_071,
  /** Of deleting a message: as a rule since it is not there. */
  deleteFailed: 10_057,
  storeFailed: 10_077,
  consumerNotUnique: 10_100,
  consumersUnfiltered: 10_099,
} as const;

/** The API's code of a failure, or 0. */
export function apiCode(reason: unknown): number {
  return reason instanceof JetStreamApiError ? reason.code : 0;
}

/** The connection, with patience. */
export class Broker {
  readonly parts: BrokerParts;
  /** Aborts when the bus is closed. */
  readonly closing: AbortController = new AbortController();
  readonly #reconnected = new Set<() => void>();
  #saidMs = -Infinity;

  constructor(parts: BrokerParts) {
    this.parts = parts;
    // Every pull listens to it: as many as there are readers, more than Node's alarm for leaks expects.
    setMaxListeners(0, this.closing.signal);
    void this.#followStatus();
  }

  get maxPayloadBytes(): number {
    return this.parts.connection.info?.max_payload ?? 0;
  }

  /** @throws OarlockError `BUS_CLOSED`. */
  checkOpen(): void {
    if (this.closing.signal.aborted) throw closed();
  }

  /** Registers what to do when the connection is back; call the result to stop. */
  onReconnect(listener: () => void): () => void {
    this.#reconnected.add(listener);
    return () => void this.#reconnected.delete(listener);
  }

  /**
   * Does an operation that may be repeated, again and again while the server is away.
   *
   * @throws the failure itself where trying again is no use; `BUS_STREAM_GONE` where the server has no `stream` any more;
   * `DEADLINE_EXCEEDED` (retryable) after the patience is over.
   */
  async call<T>(
    name: string,
    operation: (attempt: number) => Promise<T>,
    options: { readonly signal?: AbortSignal | undefined; readonly stream?: string } = {},
  ): Promise<T> {
    this.checkOpen();
    const { patienceMs, registry, connection } = this.parts;
    const { signal, stream } = options;
    try {
      const attempt = (number: number): Promise<T> =>
        this.#untilReconnected(() => operation(number)).catch(async (reason: unknown) => {
          if (stream !== undefined && causes(reason).some(isUnanswered)) await this.#checkExists(stream);
          throw reason;
        });
      return await retry(`nats-server at ${connection.getServer()} to ${name}`, attempt, {
        timeoutMs: patienceMs,
        registry,
        maxMs: 1_000,
        onRetry: (reason, number) => this.#tell(name, { attempt: number + 1, err: reason }),
        retryable: (reason) => !this.closing.signal.aborted && isTransient(reason),
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (reason) {
      if (this.closing.signal.aborted) throw closed();
      throw connection.isClosed() ? lost(reason) : reason;
    }
  }

  /** Ends the connection: what was written is sent, within a second. */
  async close(): Promise<void> {
    if (this.closing.signal.aborted) return;
    const { connection } = this.parts;
    const flushed = connection.flush().catch(() => undefined);
    await Promise.race([flushed, new Promise((resolve) => setTimeout(resolve, 1_000).unref())]);
    this.closing.abort(closed());
    await connection.close();
  }

  /** Whatever was asked before the connection broke is not answered any more: no use in waiting for its time to be over. */
  async #untilReconnected<T>(operation: () => Promise<T>): Promise<T> {
    let stop: () => void = () => undefined;
    const reconnected = new Promise<never>((_, reject) => {
      stop = this.onReconnect(() => reject(new errors.ConnectionError("the server was away")));
    });
    try {
      return await Promise.race([operation(), reconnected]);
    } finally {
      stop();
    }
  }

  /** Nobody listens to a stream's subjects: it restarts, or its storage was lost and only a new opening would bring it back. */
  async #checkExists(stream: string): Promise<void> {
    await this.parts.manager.streams.info(stream).catch((reason: unknown) => {
      if (apiCode(reason) !== API.streamNotFound) throw reason;
      throw new OarlockError(
        "BUS_STREAM_GONE",
        `the NATS server has no stream ${stream} any more: its storage was lost, or the run was removed`,
        { cause: reason },
      );
    });
  }

  /** L1: a server may take a request and never answer it, e.g. when its disk is full. */
  #tell(operation: string, fields: { readonly attempt: number; readonly err: unknown }): void {
    if (performance.now() - this.#saidMs < QUIET_MS) return;
    this.#saidMs = performance.now();
    this.parts.log.warn("the NATS server does not do what it is asked, trying again", {
      operation,
      ...fields,
    });
  }

  async #followStatus(): Promise<void> {
    for await (const { type } of this.parts.connection.status()) {
      if (type === "reconnect") for (const listener of this.#reconnected) listener();
    }
  }
}

function closed(): OarlockError {
  return new OarlockError("BUS_CLOSED", "the bus is closed");
}

/** The connection ended without us: a client that gave up, or was told to go. */
export function lost(cause: unknown): OarlockError {
  return new OarlockError("BUS_LOST", "the connection to the NATS server ended for good", { cause });
}

const MAX_CAUSES = 8;
/** Said with the status of a server that is away, though it is there and has no room: the caller decides. */
const FULL: ReadonlySet<number> = new Set([API.storeFailed, API.insufficientStorage]);

/** Whether the same call may succeed once the server is back. */
export function isTransient(reason: unknown): boolean {
  const chain = causes(reason);
  const api = chain.find((at) => at instanceof JetStreamApiError);
  if (api !== undefined) return api.status === 503 && !FULL.has(api.code);
  if (chain.some((at) => FINAL.some((kind) => at instanceof kind))) return false;
  return chain.some((at) => PASSING.some((kind) => at instanceof kind));
}

const FINAL = [errors.ClosedConnectionError, errors.PermissionViolationError] as const;
const PASSING = [errors.TimeoutError, errors.NoRespondersError, errors.ConnectionError] as const;

function isUnanswered(reason: Error): boolean {
  return reason instanceof errors.NoRespondersError;
}

/** A failure and what caused it, outermost first. */
function causes(reason: unknown): Error[] {
  const chain: Error[] = [];
  for (let at = reason; at instanceof Error && chain.length < MAX_CAUSES; at = at.cause) chain.push(at);
  return chain;
}
