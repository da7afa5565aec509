/**
 * Where the API server is and how to be let in: a kubeconfig, or the pod's own service account. The only importer of the
 * vendor's client, used for what it does well: configurations, tokens that are renewed, exec plugins.
 *
 * Requests go through one keep-alive agent: the vendor's own makes a new TLS connection for each.
 */
import { Agent, type AgentOptions, type RequestOptions } from "node:https";
import { KubeConfig } from "@kubernetes/client-node";
import { OarlockError } from "@oarlock/errors";

/** How to reach an API server. */
export interface Connection {
  readonly url: string;
  /** Namespace of the kubeconfig's context, or of the pod. */
  readonly namespace: string;
  /** Connection and headers for one request: tokens may have been renewed since the last. */
  options(): Promise<RequestBasis>;
  close(): void;
}

/** What every request starts from. */
export interface RequestBasis {
  readonly agent: Agent;
  readonly headers: Readonly<Record<string, string>>;
  readonly auth?: string;
}

export interface ConnectOptions {
  /** Path of a kubeconfig. Default: `$KUBECONFIG`, `~/.kube/config`, else the pod's service account. */
  readonly kubeconfig?: string;
  /** Context of it. Default: the current one. */
  readonly context?: string;
}

const MAX_SOCKETS = 32;

function readConfig({ kubeconfig }: ConnectOptions): KubeConfig {
  const config = new KubeConfig();
  if (kubeconfig === undefined) config.loadFromDefault();
  else config.loadFromFile(kubeconfig);
  return config;
}

/** Names of the contexts of a kubeconfig. */
export function contextNames(options: ConnectOptions = {}): readonly string[] {
  return readConfig(options)
    .getContexts()
    .map(({ name }) => name);
}

/** Reads the configuration; sends nothing. */
export function connect(options: ConnectOptions = {}): Connection {
  const { kubeconfig, context: wanted } = options;
  const config = readConfig(options);
  if (wanted !== undefined) config.setCurrentContext(wanted);
  const cluster = config.getCurrentCluster();
  if (cluster === null)
    throw new OarlockError(
      "KUBE_CONFIG",
      `${kubeconfig ?? "the default kubeconfig"} names no current cluster`,
    );
  const context = config.getContextObject(config.getCurrentContext());
  let agent: Agent | undefined;
  return {
    url: cluster.server.replace(/\/$/, ""),
    namespace: context?.namespace ?? "default",
    async options() {
      const given: RequestOptions = { headers: {} };
      await config.applyToHTTPSOptions(given);
      agent ??= new Agent({ keepAlive: true, maxSockets: MAX_SOCKETS, ...tlsOf(given) });
      const { headers = {}, auth } = given;
      const texts = Object.entries(headers).flatMap(([name, value]): [string, string][] =>
        typeof value === "string" ? [[name, value]] : [],
      );
      const basis = { agent, headers: Object.fromEntries(texts) };
      return typeof auth === "string" ? { ...basis, auth } : basis;
    },
    close: () => agent?.destroy(),
  };
}

function tlsOf({ ca, cert, key, rejectUnauthorized, servername }: RequestOptions): AgentOptions {
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(rejectUnauthorized === undefined ? {} : { rejectUnauthorized }),
    ...(servername === undefined ? {} : { servername }),
  };
}
