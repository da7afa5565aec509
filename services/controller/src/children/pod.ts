/**
 * The pod of a role: its container, environment, probes and volumes. It passes the *restricted* level, reaches no API
 * server, and is told to end early enough to drain.
 */
import type { RoleName, RoleSpec } from "@oarlock/runfile";
import type { TrainingRun } from "../api.ts";
import { childName, labelsOf } from "../names.ts";
import { queueOf } from "../queueing.ts";
import { overridden } from "./override.ts";
import { type Fields, given, RESTRICTED_CONTAINER, RESTRICTED_POD } from "./pod-parts.ts";
import { hubEnvironment, natsEnvironment, sourceMounts, sourceVolumes, SOURCES_MOUNT } from "./sources.ts";
import { type ChildSettings, GRPC_PORT, METRICS_PORT } from "./settings.ts";
import { grpcTls, HEALTH_PORT, natsTls, type PodAdditions, together } from "../tls/pod.ts";
import { CHECKPOINT_MOUNT, checkpointVolume, storageEnvironment } from "./storage.ts";
import { tolerations } from "./tolerations.ts";

const PLAN_MOUNT = "/etc/oarlock";

/** Seconds from SIGTERM to SIGKILL: a learner writes a checkpoint, the others finish or hand back what they hold. */
const GRACE_SECONDS: Readonly<Record<RoleName, number>> = { learner: 300, actor: 60, reward: 60 };
/** Of those, kept for servers and connections to close after the drain. */
const CLOSING_SECONDS = 15;

/** A pod that drained has failed: Kueue lets another take its place only then (K2). The learner does so anyway. */
const REPLACEABLE: Fields = { name: "OARLOCK_END_INTERRUPTED", value: "true" };

/** The pod template of a role. */
export function podTemplate(run: TrainingRun, role: RoleName, settings: ChildSettings): Fields {
  const { name } = run.metadata;
  const spec = run.spec.roles?.find((candidate) => candidate.name === role);
  const added = together([grpcTls(settings.tls), natsTls(run)]);
  const annotations = {
    "kubectl.kubernetes.io/default-container": role,
    ...added.annotations,
    ...(role === "learner" ? { "cluster-autoscaler.kubernetes.io/safe-to-evict": "false" } : {}),
  };
  const template = {
    metadata: { labels: labelsOf(name, role), annotations },
    spec: {
      serviceAccountName: childName(name, role),
      ...RESTRICTED_POD,
      terminationGracePeriodSeconds: GRACE_SECONDS[role],
      ...given("imagePullSecrets", run.spec.imagePullSecrets),
      ...given("nodeSelector", spec?.nodeSelector),
      tolerations: tolerations(spec?.tolerations),
      ...given("priorityClassName", spec?.priorityClassName),
      ...given("runtimeClassName", spec?.runtimeClassName),
      containers: [container(run, role, { settings, spec, added })],
      volumes: [
        { name: "plan", configMap: { name: childName(name, "plan") } },
        { name: "scratch", emptyDir: {} },
        ...sourceVolumes(run, [role]),
        ...(role === "learner" ? [checkpointVolume(run)] : []),
        ...added.volumes,
      ],
    },
  };
  return overridden(template, spec?.template);
}

function container(
  run: TrainingRun,
  role: RoleName,
  of: {
    readonly settings: ChildSettings;
    readonly spec: RoleSpec | undefined;
    readonly added: PodAdditions;
  },
): Fields {
  const { settings, spec, added } = of;
  const probe = { grpc: { port: settings.tls === undefined ? GRPC_PORT : HEALTH_PORT } };
  return {
    name: role,
    image: spec?.image ?? run.spec.image ?? settings.image,
    imagePullPolicy: "IfNotPresent",
    command: [`oarlock-${role}`],
    env: [...environment(run, role, settings), ...added.env],
    ports: [
      { name: "grpc", containerPort: GRPC_PORT, protocol: "TCP" },
      { name: "metrics", containerPort: METRICS_PORT, protocol: "TCP" },
    ],
    ...given("resources", spec?.resources),
    // Models are fetched and engines built before the server opens: half an hour, then it counts as dead.
    startupProbe: { ...probe, periodSeconds: 5, failureThreshold: 360 },
    readinessProbe: { ...probe, periodSeconds: 5 },
    livenessProbe: { ...probe, periodSeconds: 20, timeoutSeconds: 5, failureThreshold: 6 },
    terminationMessagePath: "/dev/termination-log",
    terminationMessagePolicy: "FallbackToLogsOnError",
    ...RESTRICTED_CONTAINER,
    volumeMounts: [
      { name: "plan", mountPath: PLAN_MOUNT, readOnly: true },
      { name: "scratch", mountPath: "/tmp" },
      ...sourceMounts(run, [role]),
      ...(role === "learner" ? [{ name: "checkpoints", mountPath: CHECKPOINT_MOUNT }] : []),
      ...added.volumeMounts,
    ],
  };
}

function environment(run: TrainingRun, role: RoleName, settings: ChildSettings): readonly Fields[] {
  const { uid = "" } = run.metadata;
  const fromField = (fieldPath: string): Fields => ({ valueFrom: { fieldRef: { fieldPath } } });
  return [
    { name: "OARLOCK_PLAN", value: `${PLAN_MOUNT}/plan.json` },
    { name: "OARLOCK_UID", value: uid },
    { name: "OARLOCK_SOURCES", value: SOURCES_MOUNT },
    { name: "OARLOCK_INSTANCE", ...fromField("metadata.name") },
    { name: "OARLOCK_HOST", ...fromField("status.podIP") },
    { name: "OARLOCK_PORT", value: String(GRPC_PORT) },
    { name: "OARLOCK_METRICS_HOST", ...fromField("status.podIP") },
    { name: "OARLOCK_METRICS_PORT", value: String(METRICS_PORT) },
    { name: "OARLOCK_GRACE_MS", value: String((GRACE_SECONDS[role] - CLOSING_SECONDS) * 1000) },
    ...natsEnvironment(run, settings),
    ...hubEnvironment(run, [role]),
    ...(role === "reward" ? scorerTokens(run) : []),
    ...(role !== "learner" && queueOf(run) !== undefined ? [REPLACEABLE] : []),
    ...(settings.otlpEndpoint === undefined ? [] : tracing(run, settings.otlpEndpoint)),
    // The root file system is read-only: caches of models go where there is room.
    { name: "HOME", value: "/tmp" },
    ...(role === "learner"
      ? [{ name: "OARLOCK_OUT", value: `${CHECKPOINT_MOUNT}/runs/${uid}` }, ...storageEnvironment(run)]
      : []),
    { name: "OARLOCK_TERMINATION_MESSAGE", value: "/dev/termination-log" },
  ];
}

/** Spans go to the collector, and say which pod they are of. */
function tracing({ metadata }: TrainingRun, endpoint: string): readonly Fields[] {
  const attributes = {
    "k8s.namespace.name": metadata.namespace ?? "default",
    "k8s.pod.name": "$(OARLOCK_INSTANCE)",
    "service.instance.id": "$(OARLOCK_INSTANCE)",
  };
  const text = Object.entries(attributes).map(([name, value]) => `${name}=${value}`);
  return [
    { name: "OTEL_EXPORTER_OTLP_ENDPOINT", value: endpoint },
    { name: "OTEL_RESOURCE_ATTRIBUTES", value: text.join(",") },
  ];
}

/** Tokens of scorers in other processes, from Secrets: each variable once, by the first reward that names it. */
function scorerTokens(run: TrainingRun): readonly Fields[] {
  const rewards = [
    ...run.spec.stages.flatMap(({ grpo, ppo }) => [...(grpo?.rewards ?? []), ...(ppo?.rewards ?? [])]),
    ...(run.spec.evaluation?.rewards ?? []),
  ];
  const tokens = new Map<string, Fields>();
  for (const { service } of rewards) {
    const { tokenEnv, tokenSecretRef } = service ?? {};
    if (tokenEnv === undefined || tokenSecretRef === undefined || tokens.has(tokenEnv)) continue;
    tokens.set(tokenEnv, { name: tokenEnv, valueFrom: { secretKeyRef: { ...tokenSecretRef } } });
  }
  return [...tokens.values()];
}
