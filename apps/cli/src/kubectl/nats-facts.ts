/**
 * What is known of message servers from outside of the cluster: who names which address, what stands behind it there, and, where
 * this machine reaches one, what it says of itself.
 */
import { causeChain, isOarlockError } from "@oarlock/errors";
import { type JetStreamAccount, readJetStreamAccount, readNatsOptions } from "@oarlock/bus";
import {
  conditionOf,
  isStatus,
  isTrue,
  type KubeClient,
  type KubeObject,
  type Resource,
} from "@oarlock/kube";
import { processEnvironment } from "@oarlock/runtime";
import { type Cluster, TRAINING_RUNS, type TrainingRun } from "./cluster.ts";
import { controllerOf, natsSetting } from "./finding-controller.ts";
import { natsAddress, type ServiceName, serviceOf } from "./nats-address.ts";

const SERVICES: Resource = { apiVersion: "v1", kind: "Service", plural: "services" };
const STATEFUL_SETS: Resource = { apiVersion: "apps/v1", kind: "StatefulSet", plural: "statefulsets" };
const SLICES: Resource = {
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  plural: "endpointslices",
};
const RUN_LABEL = "oarlock.dev/run";
/** For a server that answers nothing. */
const ASK_MS = 5_000;

/** What stands behind an address. */
export type Backing =
  | { readonly type: "invalid" }
  | { readonly type: "outside" }
  | { readonly type: "hidden"; readonly service: ServiceName }
  | { readonly type: "absent"; readonly service: ServiceName }
  | {
      readonly type: "service";
      readonly service: ServiceName;
      readonly ready: number;
      /** Its pods, as `kubectl -l` takes it; "" where it selects none. */
      readonly selector: string;
      /** Undefined: any, as a Service without an address of its own has it. */
      readonly ports: readonly number[] | undefined;
    };

export interface NamedServer {
  readonly url: string;
  /** Who names it: "the controller", "run mine". */
  readonly by: readonly string[];
  readonly backing: Backing;
}

/** A server that a run brings along. */
export interface OwnServer {
  readonly run: string;
  readonly statefulSet: string;
  readonly ready: number;
}

export interface NatsFacts {
  readonly namespace: string;
  readonly servers: readonly NamedServer[];
  readonly own: readonly OwnServer[];
  /** Who names a server in a Secret. */
  readonly secret: readonly string[];
  /** Runs that found no server to use. */
  readonly without: readonly string[];
  /** What the server said that this machine was told to ask. */
  readonly asked: Asked | undefined;
}

export type Asked =
  | { readonly type: "answer"; readonly url: string; readonly account: JetStreamAccount }
  | { readonly type: "refusal"; readonly code: string; readonly message: string };

/** Gathers it. `nats` is an address as this machine reaches it. */
export async function natsFacts(
  { client, namespace }: Cluster,
  { nats }: { readonly nats?: string },
): Promise<NatsFacts> {
  const { items } = await client.list<TrainingRun>(TRAINING_RUNS, { namespace });
  const runs = items.filter(
    ({ status }) => !["Complete", "Failed"].some((type) => isTrue(status?.conditions ?? [], type)),
  );
  const setting = await controllersSetting(client);
  const named = runs.map(({ metadata, spec }) => ({ by: `run ${metadata.name}`, nats: spec.nats }));
  const addresses = [
    ...(setting?.value === undefined ? [] : [{ by: "the controller", url: setting.value }]),
    ...named.flatMap(({ by, nats: of }) => (of?.url === undefined ? [] : [{ by, url: of.url }])),
  ].flatMap(({ by, url }) =>
    url
      .split(",")
      .map((one) => ({ by, url: bare(one) }))
      .filter(({ url: one }) => one !== ""),
  );
  const urls = [...new Set(addresses.map(({ url }) => url))];
  return {
    namespace,
    servers: await Promise.all(
      urls.map(async (url) => ({
        url,
        by: addresses.filter((address) => address.url === url).map(({ by }) => by),
        backing: await backingOf(client, url, namespace),
      })),
    ),
    own: await ownServers(client, namespace, runs),
    secret: [
      ...(setting?.secret === true ? ["the controller"] : []),
      ...named.filter(({ nats: of }) => of?.urlSecretRef !== undefined).map(({ by }) => by),
    ],
    without: runs
      .filter(({ status }) => conditionOf(status?.conditions ?? [], "Ready")?.reason === "NatsMissing")
      .map(({ metadata }) => metadata.name),
    asked: await ask(nats),
  };
}

/** An address without who we are: it is printed. */
function bare(url: string): string {
  return url.trim().replace(/^(\w+:\/\/)?.*@/, "$1");
}

/** Undefined where there is none, or the user may not look. */
async function controllersSetting(client: KubeClient): Promise<ReturnType<typeof natsSetting>> {
  const controller = await visible(() => controllerOf(client));
  return controller && natsSetting(controller);
}

interface Service extends KubeObject {
  readonly spec?: {
    readonly type?: string;
    readonly clusterIP?: string;
    readonly selector?: Readonly<Record<string, string>>;
    readonly ports?: readonly { readonly port: number }[];
  };
}

interface EndpointSlice extends KubeObject {
  readonly endpoints?: readonly { readonly conditions?: { readonly ready?: boolean } }[] | null;
}

async function backingOf(client: KubeClient, url: string, namespace: string): Promise<Backing> {
  const address = natsAddress(url);
  if (address === undefined) return { type: "invalid" };
  const named = serviceOf(address.host, namespace);
  if (named === undefined) return { type: "outside" };
  const { certain, ...service } = named;
  const looked = await visible(async () => {
    const found = await client.get<Service>(SERVICES, service);
    if (found === undefined) return "absent";
    const labelSelector = `kubernetes.io/service-name=${service.name}`;
    const { items } = await client.list<EndpointSlice>(SLICES, {
      namespace: service.namespace,
      labelSelector,
    });
    return { spec: found.spec ?? {}, items };
  });
  if (looked === undefined) return { type: "hidden", service };
  if (looked === "absent") return certain ? { type: "absent", service } : { type: "outside" };
  const { spec, items } = looked;
  if (spec.type === "ExternalName") return { type: "outside" };
  const endpoints = items.flatMap((slice) => slice.endpoints ?? []);
  return {
    type: "service",
    service,
    // Not said is ready, as of endpoints that no probe watches.
    ready: endpoints.filter(({ conditions }) => conditions?.ready !== false).length,
    selector: Object.entries(spec.selector ?? {})
      .map((pair) => pair.join("="))
      .join(","),
    ports: spec.clusterIP === "None" ? undefined : spec.ports?.map(({ port }) => port),
  };
}

interface StatefulSet extends KubeObject {
  readonly status?: { readonly readyReplicas?: number };
}

/** Of runs that have begun and are not suspended: else its server is not wanted. */
async function ownServers(
  client: KubeClient,
  namespace: string,
  runs: readonly TrainingRun[],
): Promise<readonly OwnServer[]> {
  const owners = new Set(
    runs
      .filter(({ spec }) => spec.nats?.managed !== undefined && spec.suspend !== true)
      .map(({ metadata }) => metadata.name),
  );
  if (owners.size === 0) return [];
  const options = { namespace, labelSelector: RUN_LABEL };
  const sets = await visible(async () => (await client.list<StatefulSet>(STATEFUL_SETS, options)).items);
  return (sets ?? []).flatMap(({ metadata, status }) => {
    const run = metadata.labels?.[RUN_LABEL] ?? "";
    const ready = status?.readyReplicas ?? 0;
    return owners.has(run) ? [{ run, statefulSet: metadata.name, ready }] : [];
  });
}

async function ask(nats: string | undefined): Promise<Asked | undefined> {
  const own = processEnvironment();
  const environment = nats === undefined ? own : { ...own, NATS_URL: nats };
  const patience = { connectTimeoutMs: ASK_MS, patienceMs: ASK_MS };
  try {
    const options = readNatsOptions(environment);
    if (options === undefined) return undefined;
    const account = await readJetStreamAccount({ ...options, ...patience, name: "kubectl-oarlock" });
    return { type: "answer", url: options.servers, account };
  } catch (reason) {
    const code = isOarlockError(reason) ? reason.code : "";
    return { type: "refusal", code, message: causeChain(reason)[0] ?? "" };
  }
}

/** Undefined where the user may not look. */
async function visible<T>(look: () => Promise<T>): Promise<T | undefined> {
  try {
    return await look();
  } catch (reason) {
    if (isStatus(reason, 403)) return undefined;
    throw reason;
  }
}
