/** Is there a controller, of which version, and does it know a message server. */
import type { KubeClient, KubeObject, Resource } from "@oarlock/kube";
import { oarlockVersion } from "../version.ts";
import type { Cluster } from "./cluster.ts";
import { type Finding, INSTALL, ok } from "./finding.ts";

const DEPLOYMENTS: Resource = { apiVersion: "apps/v1", kind: "Deployment", plural: "deployments" };
const SELECTOR = "app.kubernetes.io/component=controller";

interface Container {
  readonly image?: string;
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: object }[];
}

export interface Deployment extends KubeObject {
  readonly spec?: { readonly template?: { readonly spec?: { readonly containers?: readonly Container[] } } };
  readonly status?: { readonly availableReplicas?: number };
}

/** The controller's Deployment, wherever it is; other projects have controllers, too. */
export async function controllerOf(client: KubeClient): Promise<Deployment | undefined> {
  const { items } = await client.list<Deployment>(DEPLOYMENTS, { labelSelector: SELECTOR });
  return items.find(({ metadata }) => metadata.name.includes("oarlock"));
}

/** The findings. */
export async function controller({ client }: Cluster): Promise<readonly Finding[]> {
  const found = await controllerOf(client);
  if (found === undefined)
    return [
      { check: "controller", state: "failed", message: "no Deployment of the controller", fix: INSTALL },
    ];
  const container = containerOf(found);
  return [serving(found, container), ...versionSkew(container), ...messageServer(found)];
}

function containerOf({ spec }: Deployment): Container {
  return spec?.template?.spec?.containers?.[0] ?? {};
}

/** The message server that a controller gives runs which name none; undefined: none. */
export function natsSetting(
  deployment: Deployment,
): { readonly value?: string; readonly secret: boolean } | undefined {
  const setting = containerOf(deployment).env?.find(({ name }) => name === "OARLOCK_NATS_URL");
  if (setting?.valueFrom !== undefined) return { secret: true };
  return (setting?.value ?? "") === "" ? undefined : { value: setting?.value ?? "", secret: false };
}

function serving({ metadata, status }: Deployment, { image = "no image" }: Container): Finding {
  const { namespace = "", name } = metadata;
  if ((status?.availableReplicas ?? 0) > 0) return ok("controller", `${namespace}/${name} serves (${image})`);
  const fix = `kubectl -n ${namespace} describe deploy ${name}`;
  return { check: "controller", state: "failed", message: `no pod of ${namespace}/${name} serves`, fix };
}

function messageServer(deployment: Deployment): readonly Finding[] {
  if (natsSetting(deployment) !== undefined) return [];
  const { namespace = "", name } = deployment.metadata;
  const fix = `kubectl -n ${namespace} set env deploy/${name} OARLOCK_NATS_URL=nats://HOST:4222`;
  const message = "runs without spec.nats have no message server";
  return [{ check: "NATS", state: "warning", message, fix }];
}

function versionSkew({ image = "" }: Container): readonly Finding[] {
  const [, tag] = /:([^:/@]+)(@|$)/.exec(image) ?? [];
  const own = oarlockVersion();
  if (tag === undefined || tag === own) return [];
  const message = `the controller's image is ${tag}, this plugin is ${own}`;
  return [
    { check: "versions", state: "warning", message, fix: "use the plugin of the controller's version" },
  ];
}
