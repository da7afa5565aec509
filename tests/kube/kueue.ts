/**
 * Kueue's own controller beside a control plane: its CRDs and webhooks from its Go module, its program from the PATH
 * (`go build -o DIR/kueue ./cmd/kueue` in that module, some minutes). Kind "kueue" of `OARLOCK_REQUIRE`.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type ControlPlane,
  eventually,
  findProgram,
  freePort,
  requiredKinds,
  type ServerProcess,
  startProcess,
} from "@oarlock/testkit";
import { parseAllDocuments } from "yaml";
import { downloadModule } from "./packaging-tools.ts";

const MODULE = "sigs.k8s.io/kueue@v0.17.0";
/** Of its own kinds, and of pods. */
const WEBHOOKS = /^[mv](pod|clusterqueue|localqueue|resourceflavor|workload)\.kb\.io$/;

/** It reads those of its metrics from one fixed folder: a file system of its own has that. */
const CERTIFICATES = "/etc/kueue/metrics/certs";
const WITH_CERTIFICATES = `mount -t tmpfs tmpfs /etc && mkdir -p ${CERTIFICATES} && cp "$0"/tls.* ${CERTIFICATES} && exec "$@"`;

interface Webhook {
  readonly name: string;
  readonly clientConfig: { readonly service: { readonly path: string } };
}

interface WebhookConfiguration {
  readonly kind: string;
  readonly webhooks: readonly Webhook[];
}

export interface KueueNeeds {
  readonly absent: boolean;
  readonly note: string;
}

/** Whether it can be had here. */
export function kueueNeeds(): KueueNeeds {
  const absent = findProgram("kueue") === undefined;
  if (absent && requiredKinds().has("kueue"))
    throw new Error("no kueue on the PATH, and OARLOCK_REQUIRE demands it");
  return { absent, note: absent ? " (skipped: no kueue on the PATH)" : "" };
}

/** Starts it; pods of `namespace` are its to admit. */
export async function startKueue(
  plane: ControlPlane,
  namespace: string,
  folder: string,
): Promise<ServerProcess> {
  const source = join(downloadModule(MODULE), "config/components");
  const crds = join(source, "crd/bases");
  const text = readdirSync(crds).map((name) => readFileSync(join(crds, name), "utf8"));
  await must(plane, ["apply", "--server-side", "-f", "-"], text.join("\n---\n"));
  await must(plane, ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"]);
  await must(plane, ["create", "namespace", "kueue-system"]);
  // The API server's own certificate, which is its own authority and good for this address.
  writeFileSync(join(folder, "tls.crt"), plane.certificate);
  writeFileSync(join(folder, "tls.key"), plane.key);
  const [webhookPort, healthPort] = [await freePort(), await freePort()];
  const config = join(folder, "kueue.json");
  writeFileSync(config, JSON.stringify(configuration({ folder, webhookPort, healthPort })));
  const program = [
    findProgram("kueue") ?? "kueue",
    `--config=${config}`,
    "--feature-gates=VisibilityOnDemand=false",
  ];
  const kueue = startProcess("kueue", "unshare", [
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    WITH_CERTIFICATES,
    folder,
    "env",
    `KUBECONFIG=${plane.kubeconfig()}`,
    ...program,
  ]);
  const ready = async (): Promise<true | undefined> =>
    (await fetch(`http://127.0.0.1:${healthPort}/readyz`)).ok || undefined;
  await eventually("Kueue to be ready", ready, {
    timeoutMs: 60_000,
    detail: () => `\n${kueue.output().slice(-3_000)}`,
  });
  await must(
    plane,
    ["apply", "-f", "-"],
    JSON.stringify(webhooks(source, { namespace, webhookPort, folder })),
  );
  return kueue;
}

async function must(plane: ControlPlane, args: readonly string[], input = ""): Promise<void> {
  const { code, stderr } = await plane.kubectl(args, { input });
  if (code !== 0) throw new Error(`kubectl ${args.join(" ")}: ${stderr}`);
}

function configuration(of: {
  readonly folder: string;
  readonly webhookPort: number;
  readonly healthPort: number;
}): object {
  return {
    apiVersion: "config.kueue.x-k8s.io/v1beta2",
    kind: "Configuration",
    health: { healthProbeBindAddress: `127.0.0.1:${of.healthPort}` },
    metrics: { bindAddress: "0" },
    webhook: { port: of.webhookPort, certDir: of.folder },
    leaderElection: { leaderElect: false },
    internalCertManagement: { enable: false },
    integrations: { frameworks: ["pod"] },
  };
}

/** Its webhooks, as it ships them, at the address where it runs here. */
function webhooks(
  source: string,
  of: { readonly namespace: string; readonly webhookPort: number; readonly folder: string },
): object {
  const caBundle = readFileSync(join(of.folder, "tls.crt")).toString("base64");
  const namespaceSelector = { matchLabels: { "kubernetes.io/metadata.name": of.namespace } };
  const items = parseAllDocuments(readFileSync(join(source, "webhook/manifests.yaml"), "utf8"))
    .map((document) => document.toJS() as WebhookConfiguration)
    .map((configured) => ({
      ...configured,
      webhooks: configured.webhooks
        .filter(({ name }) => WEBHOOKS.test(name))
        .map((webhook) => ({
          ...webhook,
          ...(webhook.name.includes("pod") ? { namespaceSelector } : {}),
          clientConfig: {
            url: `https://127.0.0.1:${of.webhookPort}${webhook.clientConfig.service.path}`,
            caBundle,
          },
        })),
    }));
  return { apiVersion: "v1", kind: "List", items };
}
