/** Is a message server there that runs can use: as the cluster shows it, and as it answers this machine. */
import { formatBytes } from "@oarlock/runfile";
import type { Cluster } from "./cluster.ts";
import { AS_ADMINISTRATOR, type Finding, ok } from "./finding.ts";
import { natsAddress } from "./nats-address.ts";
import { type Asked, type NamedServer, type NatsFacts, natsFacts, type OwnServer } from "./nats-facts.ts";

const CHECK = "NATS";
/** Less than this share of what an account may store is left: the next run may find no room. */
const SCARCE = 0.1;
/** Streams and buckets of a run at most: work, trajectories, what was parked of either, state, policies, files, folder. */
const STREAMS_OF_A_RUN = 8;

/** The findings. */
export async function messageServers(
  cluster: Cluster,
  options: { readonly nats?: string },
): Promise<readonly Finding[]> {
  return natsFindings(await natsFacts(cluster, options));
}

/** Pure. */
export function natsFindings(facts: NatsFacts): readonly Finding[] {
  const { servers, own, secret, without, namespace, asked } = facts;
  return [
    ...servers.map((server) => serverFinding(server)),
    ...own.map((server) => ownFinding(server, namespace)),
    ...(secret.length === 0 ? [] : [inSecret(secret)]),
    ...(without.length === 0 ? [] : [noServer(without)]),
    ...(asked === undefined ? [] : askedFindings(asked)),
  ];
}

const CORRECT = "correct spec.nats.url or the controller's OARLOCK_NATS_URL";

function serverFinding({ url, by, backing }: NamedServer): Finding {
  const what = `${url} (${by.join(", ")})`;
  if (backing.type === "invalid")
    return failed(`${what} is no address`, `${CORRECT}: nats://HOST:4222, or tls://, ws://, wss://`);
  if (backing.type === "outside")
    return unknown(
      `${what} is none of this cluster's Services`,
      "--nats URL asks it as this machine reaches it",
    );
  const { namespace, name } = backing.service;
  if (backing.type === "hidden")
    return unknown(`${what}: you may not look at Services of ${namespace}`, AS_ADMINISTRATOR);
  if (backing.type === "absent")
    return failed(
      `${what}: there is no Service ${name} in ${namespace}`,
      `${CORRECT}; for trials, deploy/k8s/components/nats brings a server`,
    );
  const { ports, ready, selector } = backing;
  const port = natsAddress(url)?.port;
  if (port !== undefined && ports?.includes(port) === false)
    return failed(
      `${what}: Service ${namespace}/${name} has no port ${port}, but ${ports.join(", ")}`,
      "correct the port of the address, or of the Service",
    );
  if (ready > 0) return ok(CHECK, `${what}: ${ready} ready behind Service ${namespace}/${name}`);
  const pods = selector === "" ? `get endpointslices` : `describe pods -l ${selector}`;
  return failed(
    `${what}: nothing behind Service ${namespace}/${name} is ready`,
    `kubectl -n ${namespace} ${pods}: image, claim, quota; its own log says whether JetStream is on`,
  );
}

function ownFinding({ run, statefulSet, ready }: OwnServer, namespace: string): Finding {
  if (ready > 0) return ok(CHECK, `the message server of run ${run} serves`);
  return failed(
    `the message server of run ${run} does not serve`,
    `kubectl -n ${namespace} describe pod ${statefulSet}-0: image, claim, quota`,
  );
}

function inSecret(by: readonly string[]): Finding {
  return unknown(
    `${by.join(", ")}: the address is in a Secret`,
    "--nats URL asks the server as this machine reaches it",
  );
}

function noServer(runs: readonly string[]): Finding {
  return failed(
    `no message server is known to: ${runs.join(", ")}`,
    "spec.nats.url of the run, or OARLOCK_NATS_URL of the controller",
  );
}

/** What to do about a server that this machine could not use, by the code of the failure. */
const REMEDIES: Readonly<Record<string, string>> = {
  BUS_UNREACHABLE:
    "the address as this machine reaches it, e.g. nats://127.0.0.1:4222 after `kubectl port-forward -n oarlock-system svc/nats 4222`",
  BUS_REFUSED: "NATS_CREDS, NATS_USER and NATS_PASSWORD, or NATS_TOKEN; NATS_CA for an authority of your own",
  SETTING_INVALID: "the settings that the message names, in the environment of this command",
  BUS_SERVER_TOO_OLD: "a newer nats-server",
  BUS_JETSTREAM_DISABLED: "nats-server --jetstream; config.jetstream.enabled of NATS' chart",
};

function askedFindings(asked: Asked): readonly Finding[] {
  if (asked.type === "refusal") {
    const fix = REMEDIES[asked.code] ?? "is JetStream enabled for the account, and is the server healthy?";
    return [failed(asked.message, fix)];
  }
  const { url, account } = asked;
  const { serverVersion, streams, storedBytes, reservedBytes, maxBytes, maxStreams } = account;
  const takenBytes = Math.max(storedBytes, reservedBytes);
  const bound =
    maxBytes === undefined ? "no limit of the account's, so the disk's" : `${formatBytes(maxBytes)} at most`;
  const sentence =
    `nats-server ${serverVersion} at ${url}, JetStream is on: ${streams} streams, ` +
    `${formatBytes(storedBytes)} stored, ${formatBytes(reservedBytes)} promised, ${bound}`;
  const scarce = [
    ...(maxBytes !== undefined && maxBytes - takenBytes < SCARCE * maxBytes
      ? [`${formatBytes(Math.max(0, maxBytes - takenBytes))} of storage`]
      : []),
    ...(maxStreams !== undefined && maxStreams - streams < STREAMS_OF_A_RUN
      ? [`${Math.max(0, maxStreams - streams)} streams`]
      : []),
  ];
  if (scarce.length === 0) return [ok(CHECK, sentence)];
  return [
    {
      check: CHECK,
      state: "warning",
      message: `${sentence}; only ${scarce.join(" and ")} left`,
      fix: "kubectl delete trun RUN (its streams and buckets go with it), or a larger limit of the NATS account",
    },
  ];
}

function failed(message: string, fix: string): Finding {
  return { check: CHECK, state: "failed", message, fix };
}

function unknown(message: string, fix: string): Finding {
  return { check: CHECK, state: "unknown", message, fix };
}
