/**
 * A gRPC server of typed services: health, reflection, message limits, authentication, trace context, graceful end. Handlers are plain
 * async functions and generators; callbacks and streams stay inside this package. It does not know what is served.
 */
import { OarlockError } from "@oarlock/errors";
import { type Log, silentLog, silentTelemetry, sleep, type Telemetry } from "@oarlock/runtime";
import type { DescService } from "@bufbuild/protobuf";
import { Server, type UntypedServiceImplementation } from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { adapt, type CallDesk } from "./handlers.ts";
import { serverCredentials, type TlsOptions } from "./security.ts";
import { addReflection } from "./reflection.ts";
import { type ServiceImpl, wireDefinition } from "./service.ts";

/** Where and how to serve. */
export interface RpcServerOptions {
  /** Default 127.0.0.1: other machines are let in on purpose only. */
  readonly host?: string;
  /** Default 0: any free port. */
  readonly port?: number;
  readonly tls?: TlsOptions;
  /** A further port, in plain text, with the standard health service and nothing else: probes speak no TLS. */
  readonly healthPort?: number;
  /** Calls must carry it as a bearer token; health checks need not. */
  readonly token?: string;
  /** Bound on one message in either direction. Default 16 MiB. */
  readonly maxMessageBytes?: number;
  /** Time for calls in flight when closing. Default 5 000. */
  readonly graceMs?: number;
  readonly log?: Log;
  readonly telemetry?: Telemetry;
}

const DEFAULT_MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
const ABORT_TURN_MS = 50;

/** A server from construction (`add` services, then `listen`) to `close`. */
export class RpcServer implements AsyncDisposable {
  readonly #options: RpcServerOptions;
  readonly #server: Server;
  readonly #healthServer: Server | undefined;
  readonly #health = new HealthImplementation({ "": "NOT_SERVING" });
  readonly #draining = new AbortController();
  readonly #calls = new Set<AbortController>();
  readonly #services: DescService[] = [];
  #closed: Promise<void> | undefined;

  constructor(options: RpcServerOptions = {}) {
    const { maxMessageBytes = DEFAULT_MAX_MESSAGE_BYTES } = options;
    this.#options = options;
    this.#server = new Server({
      "grpc.max_receive_message_length": maxMessageBytes,
      "grpc.max_send_message_length": maxMessageBytes,
    });
    this.#health.addToServer(this.#server);
    if (options.healthPort === undefined) return;
    this.#healthServer = new Server();
    this.#health.addToServer(this.#healthServer);
  }

  /** Adds a service; it reports SERVING from `listen` on. */
  add<S extends DescService>(service: S, impl: ServiceImpl<S>): this {
    const desk: CallDesk = {
      draining: this.#draining.signal,
      calls: this.#calls,
      log: this.#options.log ?? silentLog,
      telemetry: this.#options.telemetry ?? silentTelemetry,
      ...(this.#options.token === undefined ? {} : { token: this.#options.token }),
    };
    const handlers: UntypedServiceImplementation = {};
    for (const method of service.methods) {
      // The types of `ServiceImpl` pair every local name with its handler.
      handlers[method.localName] = adapt(service, method, impl[method.localName as keyof typeof impl], desk);
    }
    const definitions = service.methods.map((method) => [method.localName, wireDefinition(service, method)]);
    this.#server.addService(Object.fromEntries(definitions), handlers);
    this.#services.push(service);
    return this;
  }

  /** Binds and serves; gives the address for clients, `host:port`. */
  async listen(): Promise<string> {
    const { host = "127.0.0.1", port = 0, tls, healthPort } = this.#options;
    const authority = host.includes(":") ? `[${host}]` : host;
    addReflection(this.#server, this.#services);
    const bound = await bind(this.#server, `${authority}:${port}`, tls);
    if (this.#healthServer !== undefined)
      await bind(this.#healthServer, `${authority}:${healthPort}`, undefined);
    for (const name of this.#names()) this.#health.setStatus(name, "SERVING");
    return `${authority}:${bound}`;
  }

  /** What the standard health service says of one service, or of the whole server. */
  setServing(serving: boolean, service?: DescService): void {
    const names = service === undefined ? this.#names() : [service.typeName];
    for (const name of names) this.#health.setStatus(name, serving ? "SERVING" : "NOT_SERVING");
  }

  /** Takes no new calls, gives those in flight `graceMs`, then aborts them; the same promise for every caller. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #names(): string[] {
    return ["", ...this.#services.map(({ typeName }) => typeName)];
  }

  async #close(): Promise<void> {
    const { graceMs = 5_000 } = this.#options;
    this.setServing(false);
    this.#draining.abort(new OarlockError("DRAINING", "the server is draining", { retryable: true }));
    const finished = new Promise<void>((resolve) => this.#server.tryShutdown(() => resolve()));
    const waited = new AbortController();
    const graceOver = sleep(graceMs, { signal: waited.signal }).then(
      () => "late" as const,
      () => undefined,
    );
    const outcome = await Promise.race([finished, graceOver]);
    waited.abort();
    this.#healthServer?.forceShutdown();
    if (outcome !== "late") return;
    const late = new OarlockError("DRAINING", `the server ended after ${graceMs} ms of grace`, {
      retryable: true,
    });
    for (const call of this.#calls) call.abort(late);
    // One turn for handlers to answer before their connections go.
    await sleep(ABORT_TURN_MS);
    this.#server.forceShutdown();
  }
}

/** Gives the port that it listens on. */
function bind(server: Server, address: string, tls: TlsOptions | undefined): Promise<number> {
  return new Promise<number>((resolve, reject) => {
    server.bindAsync(address, serverCredentials(tls), (error, port) => {
      if (error === null) resolve(port);
      else reject(new OarlockError("RPC_BIND_FAILED", `cannot listen on ${address}`, { cause: error }));
    });
  });
}
