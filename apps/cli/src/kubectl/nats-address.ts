/** An address of a message server, as NATS' clients read it, and the Service of a cluster that it names. Pure. */

export interface NatsAddress {
  readonly host: string;
  readonly port: number;
}

/** A Service of the cluster. */
export interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

/** A Service that an address may name. */
export interface NamedService extends ServiceName {
  /** `nats.mq` is a Service of another namespace, or a host of the world's: only who looks knows. */
  readonly certain: boolean;
}

/** What listens where an address says none, by its scheme. */
const PORTS: Readonly<Record<string, number>> = { nats: 4_222, tls: 4_222, ws: 80, wss: 443 };

/** Undefined for what is no address; `nats://` may be left out. */
export function natsAddress(text: string): NatsAddress | undefined {
  const url = text.includes("://") ? text : `nats://${text}`;
  if (!URL.canParse(url)) return undefined;
  const { protocol, hostname, port } = new URL(url);
  const usual = PORTS[protocol.slice(0, -1)];
  if (hostname === "" || usual === undefined) return undefined;
  return { host: hostname, port: port === "" ? usual : Number(port) };
}

/**
 * The Service that a host names, for pods of a namespace: `nats` of the own one, `nats.team`, `nats.team.svc`,
 * `nats-0.nats.team.svc.cluster.local`. Undefined for a host that is not the cluster's.
 */
export function serviceOf(host: string, namespace: string): NamedService | undefined {
  const labels = host.replace(/\.$/, "").split(".");
  const [first = "", second = ""] = labels;
  if (labels.length === 1)
    return first === "localhost" || first.startsWith("[")
      ? undefined
      : { namespace, name: first, certain: true };
  if (labels.length === 2) return { namespace: second, name: first, certain: false };
  const at = labels.indexOf("svc");
  const [name, place] = [labels[at - 2], labels[at - 1]];
  return name === undefined || place === undefined ? undefined : { namespace: place, name, certain: true };
}
