/**
 * What a run asks of a cluster: roles and their sizes, storage, the message server, life and death. A local run reads and
 * checks these fields and needs none of them; they change no bits (D1).
 *
 * Each rule across fields is stated once, as JavaScript for the command line and as CEL for the API server.
 */
import * as z from "zod";
import type {
  ClusterSpec,
  HubSpec,
  NatsSpec,
  ResourceListSpec,
  RoleSpec,
  SecuritySpec,
  StorageSpec,
  TlsSpec,
  TolerationSpec,
} from "../cluster-spec.ts";
import {
  ISSUER_KINDS,
  MANAGERS,
  ROLE_NAMES,
  SCALING_MODES,
  STORAGE_TYPES,
  TLS_TYPES,
} from "../vocabulary.ts";
import {
  choice,
  closed,
  integer,
  list,
  namedList,
  objectName,
  preserved,
  ruled,
  stringMap,
  text,
  union,
  secretKey,
} from "./primitives.ts";

const MAX_REPLICAS = 1024;
/** Ten years: a longer time is a typing error. */
const MAX_SECONDS = 315_360_000;

/** Name of an object on the cluster: a DNS subdomain. */

const quantity = (what: string) =>
  text(32)
    .regex(/^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$/)
    .describe(`${what}, as a quantity in quotes.`)
    .optional();

const resourceList: z.ZodType<ResourceListSpec> = closed({
  cpu: quantity('CPU, e.g. "2" or "500m"'),
  memory: quantity('Memory, e.g. "4Gi"'),
  "ephemeral-storage": quantity('Scratch disk, e.g. "10Gi"'),
  "nvidia.com/gpu": quantity('Whole GPUs, e.g. "1"'),
});

const resources = closed({
  requests: resourceList.describe("What a node must have free.").optional(),
  limits: resourceList.describe("What the container may use at most.").optional(),
}).describe("Resources of the role's container.");

const toleration: z.ZodType<TolerationSpec> = ruled(
  closed({
    key: text(317).describe("Taint key; absent tolerates every taint.").optional(),
    operator: choice(["Exists", "Equal"]).describe("How the value is compared.").optional(),
    value: text(63).describe("Taint value.").optional(),
    effect: choice(["NoSchedule", "PreferNoSchedule", "NoExecute"])
      .describe("Taint effect; absent is every effect.")
      .optional(),
    tolerationSeconds: integer(0, MAX_SECONDS)
      .describe("How long a NoExecute taint is borne (default: for ever).")
      .optional(),
  }),
  [
    {
      rule: "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
      message: "only a taint that evicts is borne for a time",
      path: ["tolerationSeconds"],
      accepted: "tolerationSeconds with effect: NoExecute",
      holds: ({ tolerationSeconds, effect }) => tolerationSeconds === undefined || effect === "NoExecute",
    },
  ],
);

const role: z.ZodType<RoleSpec> = ruled(
  closed({
    name: choice(ROLE_NAMES).describe("Which role."),
    replicas: integer(0, MAX_REPLICAS)
      .describe("Pods of the role (default 1). `kubectl scale` on its RolePool sticks until this changes.")
      .optional(),
    minReplicas: integer(0, MAX_REPLICAS).describe("Least replicas that scaling may choose.").optional(),
    maxReplicas: integer(1, MAX_REPLICAS).describe("Most replicas that scaling may choose.").optional(),
    scaling: closed({
      mode: choice(SCALING_MODES)
        .describe(
          "Static: replicas here, when changed. External: the RolePool's scale alone. Balanced: the controller.",
        )
        .optional(),
    })
      .describe("Who decides on the number of pods.")
      .optional(),
    image: text(512).describe("Image of this role (default: the run's).").optional(),
    resources: resources.optional(),
    nodeSelector: stringMap({ maxKey: 317, maxValue: 63, maxEntries: 16 })
      .describe("Labels that a node must have.")
      .optional(),
    tolerations: list(toleration, 0, 16).describe("Taints that the pods bear.").optional(),
    priorityClassName: objectName().describe("Priority class of the pods.").optional(),
    runtimeClassName: objectName().describe("Runtime class of the pods, e.g. nvidia.").optional(),
    template: preserved()
      .describe(
        "Any other fields of the pods (metadata, spec), laid over the controller's; named lists merge.",
      )
      .optional(),
  }),
  [
    {
      rule: "self.name != 'learner' || !has(self.replicas) || self.replicas == 1",
      message: "there is exactly one learner; set suspend: true to stop a run",
      path: ["replicas"],
      accepted: "replicas: 1, or none",
      holds: ({ name, replicas }) => name !== "learner" || replicas === undefined || replicas === 1,
    },
    {
      rule: "self.name != 'learner' || (!has(self.minReplicas) && !has(self.maxReplicas) && !has(self.scaling))",
      message: "the learner does not scale",
      path: [],
      accepted: "scaling fields on actor and reward only",
      holds: ({ name, minReplicas, maxReplicas, scaling }) =>
        name !== "learner" ||
        (minReplicas === undefined && maxReplicas === undefined && scaling === undefined),
    },
    {
      rule: "!has(self.scaling) || !has(self.scaling.mode) || self.scaling.mode != 'Balanced' || (self.name == 'actor' && has(self.maxReplicas))",
      message: "Balanced is for actors, and needs maxReplicas: the most that it may start",
      path: ["scaling", "mode"],
      accepted: "Balanced on actor, with maxReplicas",
      holds: ({ name, scaling, maxReplicas }) =>
        scaling?.mode !== "Balanced" || (name === "actor" && maxReplicas !== undefined),
    },
    {
      rule: "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
      message: "minReplicas is above maxReplicas",
      path: ["minReplicas"],
      accepted: "minReplicas of at most maxReplicas",
      holds: ({ minReplicas, maxReplicas }) => !above(minReplicas, maxReplicas),
    },
    {
      rule: "!has(self.replicas) || !has(self.minReplicas) || self.minReplicas <= self.replicas",
      message: "replicas is below minReplicas",
      path: ["replicas"],
      accepted: "replicas from minReplicas to maxReplicas",
      holds: ({ replicas, minReplicas }) => !above(minReplicas, replicas),
    },
    {
      rule: "!has(self.replicas) || !has(self.maxReplicas) || self.replicas <= self.maxReplicas",
      message: "replicas is above maxReplicas",
      path: ["replicas"],
      accepted: "replicas from minReplicas to maxReplicas",
      holds: ({ replicas, maxReplicas }) => !above(replicas, maxReplicas),
    },
  ],
);

function above(left: number | undefined, right: number | undefined): boolean {
  return typeof left === "number" && typeof right === "number" && left > right;
}

const claimSize = text(32)
  .regex(/^[1-9][0-9]*(Mi|Gi|Ti)$/)
  .describe("Size, e.g. 10Gi.");

const nats: z.ZodType<NatsSpec> = ruled(
  closed({
    url: text(1024)
      .regex(/^(nats|tls|wss?):\/\/[^\s,]+(,(nats|tls|wss?):\/\/[^\s,]+)*$/)
      .describe("nats://host:4222, several with commas.")
      .optional(),
    urlSecretRef: secretKey("Key in it whose value is the URL.")
      .describe("Where a URL with credentials is kept.")
      .optional(),
    managed: closed({
      size: claimSize.optional(),
      storageClassName: objectName().describe("Storage class (default: the cluster's).").optional(),
      image: text(512).describe("Image with nats-server (default: the controller's).").optional(),
    })
      .describe("A server of the run's own, made and deleted with it; one pod, for trials.")
      .optional(),
    tls: closed({
      secretName: objectName().describe("Secret with ca.crt, and tls.crt and tls.key for a client's own."),
      clientCertificate: z
        .boolean()
        .describe("true: show tls.crt to the server, as mutual TLS asks.")
        .optional(),
    })
      .describe("Authority of the server's certificate, where it is not a public one.")
      .optional(),
  }),
  [
    {
      rule: "[has(self.url), has(self.urlSecretRef), has(self.managed)].filter(x, x).size() == 1",
      message: "exactly one of 'url', 'urlSecretRef' and 'managed' must be given",
      path: [],
      accepted: "url: nats://host:4222, or urlSecretRef: {name, key}, or managed: {}",
      holds: ({ url, urlSecretRef, managed }) =>
        [url, urlSecretRef, managed].filter((given) => given !== undefined).length === 1,
    },
    {
      rule: "!has(self.url) || !self.url.contains('@')",
      message:
        "a user, password or token is for a Secret: put the whole URL there, and name it in nats.urlSecretRef",
      path: ["url"],
      accepted: "nats://host:4222, or urlSecretRef: {name, key} in place of url",
      holds: ({ url }) => typeof url !== "string" || !url.includes("@"),
    },
    {
      rule: "!has(self.managed) || !has(self.tls)",
      message: "the run's own server uses the certificates of spec.security.tls",
      path: ["tls"],
      accepted: "no tls beside managed",
      holds: ({ managed, tls: own }) => managed === undefined || own === undefined,
    },
  ],
).describe("The message server (default: the one that the controller was given).");

const hub: z.ZodType<HubSpec> = closed({
  endpoint: text(1024)
    .regex(/^https?:\/\/[^\s/?#@]+(\/[^\s?#@]*)?$/)
    .describe("A mirror's address (default: https://huggingface.co).")
    .optional(),
  tokenSecretRef: secretKey("Key in it whose value is the token.")
    .describe("Token for private and gated repositories.")
    .optional(),
}).describe("The Hugging Face hub, as the run's pods reach it (a laptop: HF_ENDPOINT, HF_TOKEN).");

const tls: z.ZodType<TlsSpec> = union(
  closed({
    type: choice(TLS_TYPES).describe("Whose certificates."),
    secret: closed({ name: objectName().describe("Secret with tls.crt, tls.key and ca.crt.") })
      .describe("A certificate for all pods, for the names <run>-<role>.<namespace>.svc.")
      .optional(),
    certManager: closed({
      issuerRef: closed({
        name: objectName().describe("Name of the issuer."),
        kind: choice(ISSUER_KINDS).describe("Its kind (default Issuer).").optional(),
        group: text(253).describe("Its API group (default cert-manager.io).").optional(),
      }).describe("Who signs; its Secrets must hold ca.crt."),
    })
      .describe("A Certificate of cert-manager is made for the run.")
      .optional(),
    runCA: closed({
      validDays: integer(1, 3650)
        .describe("Days that a certificate lasts; renewed after two thirds (default 90).")
        .optional(),
    })
      .describe("The controller is the authority of this run alone.")
      .optional(),
  }),
  TLS_TYPES,
  { optionalBlocks: ["runCA"] },
).describe("Mutual TLS on gRPC inside of the run (default: none).");

const security: z.ZodType<SecuritySpec> = closed({ tls: tls.optional() }).describe(
  "How the run's pods are protected.",
);

const storage: z.ZodType<StorageSpec> = union(
  closed({
    type: choice(STORAGE_TYPES).describe("Kind of volume for checkpoints and the run's files."),
    claim: closed({ name: objectName().describe("A PersistentVolumeClaim in the run's namespace.") })
      .describe("A claim that exists; it stays when the run is deleted.")
      .optional(),
    new: closed({
      size: claimSize,
      storageClassName: objectName().describe("Storage class (default: the cluster's).").optional(),
    })
      .describe("A claim made for this run and deleted with it.")
      .optional(),
    objectStore: closed({ size: claimSize })
      .describe(
        "A bucket of the run on its message server, deleted with it; size holds one checkpoint more than kept.",
      )
      .optional(),
    emptyDir: ruled(
      closed({
        acceptLoss: z.boolean().describe("true: a lost learner pod may lose the run."),
      }),
      [
        {
          rule: "self.acceptLoss",
          message: "checkpoints in an emptyDir are lost with the pod",
          path: ["acceptLoss"],
          accepted: "acceptLoss: true, or storage of type new, claim or objectStore",
          holds: ({ acceptLoss }) => acceptLoss !== false,
        },
      ],
    )
      .describe("A folder that dies with the pod; for trials.")
      .optional(),
  }),
  STORAGE_TYPES,
).describe("Where checkpoints live (default: a new claim of 10Gi).");

const seconds = (least: number, what: string): z.ZodOptional<z.ZodInt> =>
  integer(least, MAX_SECONDS).describe(what).optional();

type ClusterFields = {
  readonly [F in keyof Required<ClusterSpec>]: z.ZodOptional<z.ZodType<NonNullable<ClusterSpec[F]>>>;
};

/** The fields of `spec` that only a cluster reads. */
export const clusterFields: ClusterFields = {
  suspend: z
    .boolean()
    .describe("true: write a checkpoint and free every pod; false again continues bit for bit.")
    .optional(),
  managedBy: choice(MANAGERS)
    .describe(
      "Who acts on the run: the controller of this cluster (default), or a cluster that Kueue sends it to.",
    )
    .optional(),
  image: text(512).describe("Image of every role (default: the controller's own).").optional(),
  imagePullSecrets: list(closed({ name: objectName().describe("Name of a Secret.") }), 0, 8)
    .describe("Secrets to pull images with.")
    .optional(),
  roles: namedList(role, 1, ROLE_NAMES.length)
    .describe("Sizes and places of the roles on a cluster; a role left out has one pod.")
    .optional(),
  nats: nats.optional(),
  hub: hub.optional(),
  security: security.optional(),
  storage: storage.optional(),
  backoffLimit: integer(0, 1000)
    .describe("Failures of the learner before the run fails; evictions do not count (default 6).")
    .optional(),
  activeDeadlineSeconds: seconds(1, "Seconds of running after which the run fails; a resume starts anew."),
  progressDeadlineSeconds: seconds(
    1,
    "Seconds without a step after which the run counts as stalled (default 1800).",
  ),
  ttlSecondsAfterFinished: seconds(0, "Seconds after which a finished run is deleted (default: never)."),
};
