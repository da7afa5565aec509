/** The controller's settings, read once from the environment. */
import { OarlockError } from "@oarlock/errors";
import { createSettingsReader } from "@oarlock/runtime";
import type { Environment, SettingsReader } from "@oarlock/runtime";
import type { ChildSettings } from "./children/settings.ts";

export interface ControllerConfig {
  readonly children: ChildSettings;
  /** Who competes for the lead: the pod's name. */
  readonly identity: string;
  /** Namespace whose runs it serves; undefined: all. */
  readonly watchNamespace: string | undefined;
  /** Command that resolves plans. */
  readonly planner: readonly string[];
  /** Address and port of `/healthz`, `/readyz` and `/metrics`. */
  readonly host: string;
  readonly port: number;
  /** Whether it waits for the lead. */
  readonly elect: boolean;
  /** How long a lead lasts that is not renewed. Default 15 s. */
  readonly leaseSeconds?: number;
  readonly graceMs: number;
}

const MAX_PORT = 65_535;

/** Reads `OARLOCK_*`. */
export function readControllerConfig(environment: Environment): ControllerConfig {
  const settings = createSettingsReader(environment);
  const namespace = settings.text("OARLOCK_NAMESPACE", "oarlock-system");
  return {
    children: {
      image: settings.text("OARLOCK_IMAGE", "ghcr.io/oarlock/oarlock:0.1.0"),
      natsUrl: openAddress(settings, "OARLOCK_NATS_URL", "runs that name a Secret (spec.nats.urlSecretRef)"),
      natsImage: settings.text("OARLOCK_NATS_IMAGE", "docker.io/library/nats:2.12-alpine"),
      otlpEndpoint: openAddress(settings, "OARLOCK_OTLP_ENDPOINT", "a collector that knows its backend's"),
      namespace,
    },
    identity: settings.text("OARLOCK_INSTANCE", `controller-${process.pid}`),
    watchNamespace: settings.text("OARLOCK_WATCH_NAMESPACE"),
    planner: settings.text("OARLOCK_PLANNER", "oarlock").split(" "),
    host: settings.text("OARLOCK_HOST", "127.0.0.1"),
    port: settings.integer("OARLOCK_PORT", { min: 0, max: MAX_PORT, fallback: 8_081 }),
    elect: settings.flag("OARLOCK_LEADER_ELECTION", true),
    leaseSeconds: settings.integer("OARLOCK_LEASE_SECONDS", { min: 2, max: 300, fallback: 15 }),
    graceMs: settings.integer("OARLOCK_GRACE_MS", { min: 0, max: 600_000, fallback: 20_000 }),
  };
}

/** It stands in the templates of pods, which whoever may see pods reads. */
function openAddress(settings: SettingsReader, name: string, otherwise: string): string | undefined {
  const address = settings.text(name);
  if (address?.includes("@") !== true) return address;
  throw new OarlockError(
    "SETTING_INVALID",
    `environment variable ${name} has a user, password or token in it, and pods would show it; ` +
      `accepted: an address without, and ${otherwise}`,
  );
}
