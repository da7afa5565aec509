/** How the plugin reaches a run's message server: from this machine it has another address than from a pod. */
import { Option } from "commander";
import { type JetStreamBusOptions, readNatsOptions } from "@oarlock/bus";
import { OarlockError } from "@oarlock/errors";
import type { RunSpec } from "@oarlock/runfile";
import { processEnvironment } from "@oarlock/runtime";

export function natsOption(
  does = "message server as this machine reaches it (default: NATS_URL, or the run's)",
): Option {
  return new Option("--nats <url>", does);
}

/** `why` begins the sentence where no address is known. @throws OarlockError `NATS_UNKNOWN`. */
export function natsOptions(
  spec: RunSpec,
  { nats, why }: { readonly nats?: string; readonly why: string },
): JetStreamBusOptions {
  const environment = processEnvironment();
  const servers = nats ?? spec.nats?.url;
  const found = readNatsOptions(servers === undefined ? environment : { ...environment, NATS_URL: servers });
  if (found !== undefined) return found;
  throw new OarlockError(
    "NATS_UNKNOWN",
    `${why}; accepted: --nats URL as this machine reaches it, ` +
      "e.g. nats://127.0.0.1:4222 after `kubectl port-forward -n oarlock-system svc/nats 4222`",
  );
}
