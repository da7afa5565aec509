/** What the controller is told once and every run's children depend on. */

import type { PodTls } from "../tls/state.ts";

export interface ChildSettings {
  /** Image of roles whose run names none. */
  readonly image: string;
  /** Message server of runs that name none; undefined: such runs wait. */
  readonly natsUrl: string | undefined;
  /** Where pods send traces, OTLP over HTTP; undefined: nowhere. */
  readonly otlpEndpoint?: string | undefined;
  /** Namespace of the controller, let in by network policies. */
  readonly namespace: string;
  /** Image of message servers of runs' own. */
  readonly natsImage: string;
  /** Of a run with a message server of its own: the Secret with its password. */
  readonly natsSecret?: string;
  /** Of a run whose gRPC speaks TLS: its certificates. */
  readonly tls?: PodTls;
}

/** Port of a role's gRPC server. */
export const GRPC_PORT = 50_051;
/** Port of its Prometheus metrics. */
export const METRICS_PORT = 9_464;

/** Size of a claim where the run asks for nothing else. */
export const DEFAULT_STORAGE = "10Gi";
