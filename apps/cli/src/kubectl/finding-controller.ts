/** Is there a controller, of which version, and does it know a message server. */
import type { KubeObject, Resource } from "@oarlock/kube";
import { oarlockVersion } from "../version.ts";
import type { Cluster } from "./cluster.ts";
import { type Finding, INSTALL, ok } from "./finding.ts";

const DEPLOYMENTS: Resource = { apiVersion: "apps/v1", kind: "Deployment", plural: "deployments" };
const SELECTOR = "app.kubernetes.io/component=controller";

interface Container {
  readonly image?: string;
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: object }[];
}

interface Deployment extends KubeObject {
  readonly spec?: { readonly template?: { readonly spec?: { readonly containers?: readonly Container[] } } };
  readonly status?: { readonly availableReplicas?: number };
}

/** The findings. */
export async function controller({ client }: Cluster): Promise<readonly Finding[]> {
  const { items } = await client.list<Deployment>(DEPLOYMENTS, { labelSelector: SELECTOR });
  // Other projects have controllers, too.
  const found = items.find(({ metadata }) => metadata.name.includes("oarlock"));
  if (found === undefined)
    return [
      { check: "controller", state: "failed", message: "no Deployment of the controller", fix: INSTALL },
    ];
  const [container = {}] = found.spec?.template?.spec?.containers ?? [];
  return [serving(found, container), ...versionSkew(container), messageServer(found, container)];
}

function serving({ metadata, status }: Deployment, { image = "no image" }: Container): Finding {
  const { namespace = "", name } = metadata;
  if ((status?.availableReplicas ?? 0) > 0) return ok("controller", `${namespace}/${name} serves (${image})`);
  const fix = `kubectl -n ${namespace} describe deploy ${name}`;
  return { check: "controller", state: "failed", message: `no pod of ${namespace}/${name} serves`, fix };
}

function messageServer({ metadata }: Deployment, { env = [] }: Container): Finding {
  const setting = env.find(({ name }) => name === "OARLOCK_NATS_URL");
  if ((setting?.value ?? "") !== "" || setting?.valueFrom !== undefined)
    return ok("NATS", "the controller knows a message server");
  const { namespace = "", name } = metadata;
  const fix = `kubectl -n ${namespace} set env deploy/${name} OARLOCK_NATS_URL=nats://HOST:4222`;
  return { check: "NATS", state: "warning", message: "runs without spec.nats have no message server", fix };
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
