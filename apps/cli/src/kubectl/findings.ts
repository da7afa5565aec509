/** What `kubectl oarlock doctor` looks at: each check asks the API server and gives what is wrong with its remedy. */
import { isStatus, type KubeObject, type Resource } from "@oarlock/kube";
import { controller } from "./finding-controller.ts";
import { type Cluster, TRAINING_RUNS } from "./cluster.ts";
import { AS_ADMINISTRATOR, type Finding, INSTALL, ok } from "./finding.ts";
import { devices } from "./finding-devices.ts";
import { messageServers } from "./finding-nats.ts";
import { nodes } from "./finding-nodes.ts";

export interface DoctorOptions {
  /** A message server as this machine reaches it. */
  readonly nats?: string;
}

type Check = (cluster: Cluster, options: DoctorOptions) => Promise<readonly Finding[]>;

const resource = (apiVersion: string, kind: string, plural: string): Resource => ({
  apiVersion,
  kind,
  plural,
});
const QUOTAS = resource("v1", "ResourceQuota", "resourcequotas");
const LIMITS = resource("v1", "LimitRange", "limitranges");
const CLASSES = resource("storage.k8s.io/v1", "StorageClass", "storageclasses");
const PODS = resource("v1", "Pod", "pods");
const REVIEWS = resource("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews");

const definitions: Check = async ({ client, namespace }) => {
  try {
    const { items } = await client.list(TRAINING_RUNS, { namespace });
    return [ok("CRDs", `oarlock.dev/v1alpha1 is served; ${items.length} runs in ${namespace}`)];
  } catch (reason) {
    if (!isStatus(reason, 404)) throw reason;
    return [{ check: "CRDs", state: "failed", message: "oarlock.dev/v1alpha1 is not served", fix: INSTALL }];
  }
};

/** What a person does with runs. */
const WANTED: readonly (readonly [verb: string, group: string, what: string, subresource?: string])[] = [
  ["create", "oarlock.dev", "trainingruns"],
  ["patch", "oarlock.dev", "trainingruns"],
  ["delete", "oarlock.dev", "trainingruns"],
  ["patch", "oarlock.dev", "rolepools", "scale"],
  ["list", "", "pods"],
  ["get", "", "pods", "log"],
];

interface Review extends KubeObject {
  readonly spec: object;
  readonly status?: { readonly allowed?: boolean };
}

const rights: Check = async ({ client, namespace }) => {
  const refused: string[] = [];
  for (const [verb, group, what, subresource] of WANTED) {
    const attributes = { namespace, verb, group, resource: what, ...(subresource && { subresource }) };
    const { apiVersion, kind } = REVIEWS;
    const review: Review = {
      apiVersion,
      kind,
      metadata: { name: "" },
      spec: { resourceAttributes: attributes },
    };
    const { status } = await client.create<Review>(REVIEWS, review);
    if (status?.allowed !== true)
      refused.push(`${verb} ${what}${subresource === undefined ? "" : `/${subresource}`}`);
  }
  if (refused.length === 0) return [ok("rights", `you may do all that runs need in ${namespace}`)];
  const fix = `kubectl -n ${namespace} create rolebinding oarlock-editor --clusterrole=oarlock-editor --user=YOU`;
  return [{ check: "rights", state: "warning", message: `you may not: ${refused.join(", ")}`, fix }];
};

interface Quota extends KubeObject {
  readonly status?: {
    readonly hard?: Readonly<Record<string, string>>;
    readonly used?: Readonly<Record<string, string>>;
  };
}

const quota: Check = async ({ client, namespace }) => {
  const { items } = await client.list<Quota>(QUOTAS, { namespace });
  const full = items.flatMap(({ metadata, status }) =>
    Object.entries(status?.hard ?? {}).flatMap(([what, hard]) =>
      status?.used?.[what] === hard ? [`${metadata.name}: ${what} ${hard} of ${hard}`] : [],
    ),
  );
  if (full.length === 0)
    return [ok("quota", items.length === 0 ? "no quota" : "there is room in every quota")];
  return [
    {
      check: "quota",
      state: "warning",
      message: `used up: ${full.join(", ")}`,
      fix: "suspend a run (kubectl oarlock suspend RUN), or ask for more",
    },
  ];
};

interface LimitRange extends KubeObject {
  readonly spec?: {
    readonly limits?: readonly {
      readonly type: string;
      readonly max?: Readonly<Record<string, string>>;
      readonly default?: Readonly<Record<string, string>>;
    }[];
  };
}

const limits: Check = async ({ client, namespace }) => {
  const { items } = await client.list<LimitRange>(LIMITS, { namespace });
  const ofContainers = items
    .flatMap(({ spec }) => spec?.limits ?? [])
    .filter(({ type }) => type === "Container");
  const said = ofContainers.flatMap((range) =>
    Object.entries({ ...range.default, ...range.max }).map(([what, most]) => `${what} ${most}`),
  );
  if (said.length === 0) return [ok("limits", "containers have no limits but their own")];
  return [
    {
      check: "limits",
      state: "warning",
      message: `containers get at most or by default: ${said.join(", ")}`,
      fix: "set spec.roles[].resources; `oarlock plan` states the memory that a run needs",
    },
  ];
};

const storage: Check = async ({ client }) => {
  const { items } = await client.list(CLASSES);
  const isDefault = items.some(
    ({ metadata }) => metadata.annotations?.["storageclass.kubernetes.io/is-default-class"] === "true",
  );
  if (isDefault) return [ok("storage", "there is a default storage class")];
  return [
    {
      check: "storage",
      state: "warning",
      message: "no default storage class: claims for checkpoints stay unbound",
      fix: "set spec.storage.new.storageClassName, spec.storage.claim, or storage of type objectStore",
    },
  ];
};

interface Pod extends KubeObject {
  readonly status?: {
    readonly containerStatuses?: readonly {
      readonly image?: string;
      readonly state?: { readonly waiting?: { readonly reason?: string } };
    }[];
  };
}

const images: Check = async ({ client, namespace }) => {
  const { items } = await client.list<Pod>(PODS, {
    namespace,
    labelSelector: "app.kubernetes.io/part-of=oarlock",
  });
  const failing = items.flatMap(({ metadata, status }) =>
    (status?.containerStatuses ?? []).flatMap(({ image = "", state }) =>
      /^(ErrImage|ImagePull|InvalidImage)/.test(state?.waiting?.reason ?? "")
        ? [`${metadata.name}: ${image}`]
        : [],
    ),
  );
  if (failing.length === 0) return [ok("images", `no pod waits for an image in ${namespace}`)];
  return [
    {
      check: "images",
      state: "failed",
      message: `cannot be pulled: ${failing.join(", ")}`,
      fix: "spec.image, and spec.imagePullSecrets for a private registry",
    },
  ];
};

const CHECKS: Readonly<Record<string, Check>> = {
  CRDs: definitions,
  controller,
  NATS: messageServers,
  rights,
  quota,
  limits,
  storage,
  images,
  nodes,
  devices,
};

/** Runs every check; one that the user may not run is unknown, not wrong. */
export async function examine(cluster: Cluster, options: DoctorOptions): Promise<readonly Finding[]> {
  const found: Finding[] = [];
  for (const [check, run] of Object.entries(CHECKS)) {
    try {
      found.push(...(await run(cluster, options)));
    } catch (reason) {
      if (!isStatus(reason, 403, 404)) throw reason;
      found.push({ check, state: "unknown", message: "you may not look at it", fix: AS_ADMINISTRATOR });
    }
  }
  return found;
}
