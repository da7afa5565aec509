/**
 * A message server of the run's own, for trials: one nats-server whose storage is a claim of the run and goes with it. It serves
 * the run's pods alone, by a password that nobody chose, and by the run's certificates where it has some. Pure.
 */
import type { TrainingRun } from "../api.ts";
import { type Child, child } from "../children/child.ts";
import { type Fields, mountedSecret, RESTRICTED_CONTAINER, RESTRICTED_POD } from "../children/pod-parts.ts";
import type { ChildSettings } from "../children/settings.ts";
import { childName, labelsOf, RUN_LABEL } from "../names.ts";
import { serviceHost, TLS_ANNOTATION } from "../tls/names.ts";
import { natsFiles, type PodAdditions, RUN_MOUNT } from "../tls/pod.ts";
import { tlsText } from "../tls/state.ts";
import { CONFIGURATION, NATS_SECRET_ANNOTATION, NATS_USER, PASSWORD } from "./credentials.ts";

const CLIENT_PORT = 4_222;
const MONITOR_PORT = 8_222;
const STORE = "/data";
const SETTINGS = "/etc/nats";
const CERTIFICATES = "/etc/nats-tls";
const DEFAULT_SIZE = "5Gi";
const GRACE_SECONDS = 30;

/** Of the server's pods: not the run's label, so that no count of the run's pods sees them. */
const SERVER_LABEL = "oarlock.dev/nats";

/** Name of the parts: Service, StatefulSet, claim. */
const PART = "nats";

export function ownsNats({ spec }: TrainingRun): boolean {
  return spec.nats?.managed !== undefined;
}

/** What a role's pods need to reach it. */
export function managedNatsEnvironment(run: TrainingRun, settings: ChildSettings): readonly Fields[] {
  const scheme = settings.tls === undefined ? "nats" : "tls";
  const secretKeyRef = { name: settings.natsSecret, key: PASSWORD };
  return [
    { name: "NATS_URL", value: `${scheme}://${serviceHost(run, PART)}:${CLIENT_PORT}` },
    { name: "NATS_USER", value: NATS_USER },
    { name: "NATS_PASSWORD", valueFrom: { secretKeyRef } },
    ...(settings.tls === undefined ? [] : natsFiles(RUN_MOUNT, true)),
  ];
}

/** The server's objects; without pods where nobody needs it. */
export function natsServer(
  run: TrainingRun,
  { settings, replicas }: { readonly settings: ChildSettings; readonly replicas: 0 | 1 },
): readonly Child[] {
  if (!ownsNats(run)) return [];
  const name = childName(run.metadata.name, PART);
  const selector = { [SERVER_LABEL]: run.metadata.name };
  const { size = DEFAULT_SIZE, storageClassName } = run.spec.nats?.managed ?? {};
  const claim = {
    accessModes: ["ReadWriteOnce"],
    resources: { requests: { storage: size } },
    ...(storageClassName === undefined ? {} : { storageClassName }),
  };
  const ports = [{ name: "client", port: CLIENT_PORT, targetPort: "client", protocol: "TCP" }];
  const statefulSet = child(
    run,
    { kind: "StatefulSet", name },
    {
      spec: {
        replicas,
        serviceName: name,
        selector: { matchLabels: selector },
        template: podTemplate(run, settings),
      },
    },
  );
  const annotations = { [NATS_SECRET_ANNOTATION]: settings.natsSecret ?? "" };
  return [
    child(run, { kind: "ServiceAccount", name }, { automountServiceAccountToken: false }),
    child(run, { kind: "PersistentVolumeClaim", name }, { spec: claim }),
    child(run, { kind: "Service", name }, { spec: { clusterIP: "None", selector, ports } }),
    child(run, { kind: "NetworkPolicy", name }, { spec: wall(run, selector) }),
    { ...statefulSet, metadata: { ...statefulSet.metadata, annotations } },
  ];
}

/** In: the run's pods, to the clients' port. Out: nothing. */
function wall({ metadata }: TrainingRun, matchLabels: Fields): Fields {
  const own = { podSelector: { matchLabels: { [RUN_LABEL]: metadata.name } } };
  return {
    podSelector: { matchLabels },
    policyTypes: ["Ingress", "Egress"],
    ingress: [{ from: [own], ports: [{ protocol: "TCP", port: CLIENT_PORT }] }],
  };
}

function podTemplate(run: TrainingRun, settings: ChildSettings): Fields {
  const { name } = run.metadata;
  const { [RUN_LABEL]: _, ...labels } = labelsOf(name);
  const { tls } = settings;
  const annotations = {
    "kubectl.kubernetes.io/default-container": "nats",
    ...(tls === undefined ? {} : { [TLS_ANNOTATION]: tlsText(tls) }),
  };
  return {
    metadata: { labels: { ...labels, [SERVER_LABEL]: name }, annotations },
    spec: {
      serviceAccountName: childName(name, PART),
      ...RESTRICTED_POD,
      terminationGracePeriodSeconds: GRACE_SECONDS,
      ...(run.spec.imagePullSecrets === undefined ? {} : { imagePullSecrets: run.spec.imagePullSecrets }),
      containers: [container(run, settings)],
      volumes: [
        { name: "store", persistentVolumeClaim: { claimName: childName(name, PART) } },
        ...filesOf(settings).volumes,
      ],
    },
  };
}

/** Its configuration, and the run's certificates where it has some. */
function filesOf({ natsSecret, tls }: ChildSettings): Pick<PodAdditions, "volumes" | "volumeMounts"> {
  const parts = [
    mountedSecret("settings", { mountPath: SETTINGS, secretName: natsSecret }),
    ...(tls === undefined
      ? []
      : [mountedSecret("tls", { mountPath: CERTIFICATES, secretName: tls.secretName })]),
  ];
  return {
    volumes: parts.flatMap(({ volumes }) => volumes),
    volumeMounts: parts.flatMap(({ volumeMounts }) => volumeMounts),
  };
}

function container(run: TrainingRun, settings: ChildSettings): Fields {
  const { tls, natsImage } = settings;
  const mutualTls = [
    "--tlsverify",
    "--tlscert",
    `${CERTIFICATES}/tls.crt`,
    "--tlskey",
    `${CERTIFICATES}/tls.key`,
    "--tlscacert",
    `${CERTIFICATES}/ca.crt`,
  ];
  return {
    name: "nats",
    image: run.spec.nats?.managed?.image ?? natsImage,
    imagePullPolicy: "IfNotPresent",
    command: ["nats-server"],
    args: [
      "--config",
      `${SETTINGS}/${CONFIGURATION}`,
      "--addr",
      "$(POD_IP)",
      "--port",
      String(CLIENT_PORT),
      "--http_port",
      String(MONITOR_PORT),
      "--store_dir",
      STORE,
      ...(tls === undefined ? [] : mutualTls),
    ],
    env: [{ name: "POD_IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } }],
    ports: [
      { name: "client", containerPort: CLIENT_PORT, protocol: "TCP" },
      { name: "monitor", containerPort: MONITOR_PORT, protocol: "TCP" },
    ],
    resources: { requests: { cpu: "100m", memory: "256Mi" } },
    readinessProbe: {
      httpGet: { path: "/healthz?js-enabled-only=true", port: "monitor" },
      periodSeconds: 5,
    },
    ...RESTRICTED_CONTAINER,
    volumeMounts: [{ name: "store", mountPath: STORE }, ...filesOf(settings).volumeMounts],
  };
}
