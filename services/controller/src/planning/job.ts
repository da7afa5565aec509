/**
 * The plan of a run that reads volumes or the hub is resolved where they can be reached: a Job runs the command line
 * there and serves what it says, until the controller has it. Pure.
 */
import type { RoleName } from "@oarlock/runfile";
import type { TrainingRun } from "../api.ts";
import { type Child, child } from "../children/child.ts";
import { type Fields, given, RESTRICTED_CONTAINER, RESTRICTED_POD } from "../children/pod-parts.ts";
import {
  hubEnvironment,
  natsEnvironment,
  sourceMounts,
  sourceVolumes,
  SOURCES_MOUNT,
} from "../children/sources.ts";
import { type ChildSettings, GRPC_PORT } from "../children/settings.ts";
import { tolerations } from "../children/tolerations.ts";
import { childName, labelsOf, ROLE_LABEL } from "../names.ts";
import { roleSpec } from "../roles.ts";
import { hasBundles } from "../run-sources.ts";
import { natsTls, type PodAdditions } from "../tls/pod.ts";

/** Value of the role label of its pod. */
export const PLANNER = "planner";

const BACKOFF_LIMIT = 3;
/** A model may have to be fetched, and read. */
const DEADLINE_SECONDS = 3_600;
const READERS: readonly RoleName[] = ["learner", "actor", "reward"];

/** The Job. */
export function plannerJob(run: TrainingRun, settings: ChildSettings): Child {
  const { name } = run.metadata;
  const learner = roleSpec(run, "learner");
  const template = {
    metadata: { labels: { ...labelsOf(name), [ROLE_LABEL]: PLANNER } },
    spec: {
      restartPolicy: "Never",
      serviceAccountName: childName(name, "learner"),
      ...RESTRICTED_POD,
      terminationGracePeriodSeconds: 5,
      ...given("imagePullSecrets", run.spec.imagePullSecrets),
      ...given("nodeSelector", learner.nodeSelector),
      tolerations: tolerations(learner.tolerations),
      ...given("priorityClassName", learner.priorityClassName),
      containers: [container(run, settings)],
      volumes: [
        { name: "scratch", emptyDir: {} },
        ...sourceVolumes(run, READERS),
        ...bundleAccess(run, settings).volumes,
      ],
    },
  };
  const spec = { backoffLimit: BACKOFF_LIMIT, activeDeadlineSeconds: DEADLINE_SECONDS, template };
  return child(run, { kind: "Job", name: childName(name, PLANNER) }, { spec });
}

/** The message server, where bundles lie: a run without any is planned before it has a server of its own. */
function bundleAccess(
  run: TrainingRun,
  settings: ChildSettings,
): Pick<PodAdditions, "env" | "volumes" | "volumeMounts"> {
  if (!hasBundles(run)) return { env: [], volumes: [], volumeMounts: [] };
  const tls = natsTls(run);
  return { ...tls, env: [...natsEnvironment(run, settings), ...tls.env] };
}

function container(run: TrainingRun, settings: ChildSettings): Fields {
  const bundles = bundleAccess(run, settings);
  const { image, resources } = roleSpec(run, "learner");
  const { cpu, memory } = resources?.requests ?? {};
  const requests = Object.entries({ cpu, memory }).filter(([, amount]) => amount !== undefined);
  return {
    name: PLANNER,
    image: image ?? run.spec.image ?? settings.image,
    imagePullPolicy: "IfNotPresent",
    command: ["oarlock", "serve-plan", SOURCES_MOUNT],
    env: [
      { name: "OARLOCK_RUN", value: JSON.stringify(runFileOf(run)) },
      { name: "OARLOCK_UID", value: run.metadata.uid ?? "" },
      { name: "OARLOCK_HOST", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
      { name: "OARLOCK_PORT", value: String(GRPC_PORT) },
      ...bundles.env,
      ...hubEnvironment(run, READERS),
      { name: "HOME", value: "/tmp" },
    ],
    ports: [{ name: "plan", containerPort: GRPC_PORT, protocol: "TCP" }],
    ...(requests.length === 0 ? {} : { resources: { requests: Object.fromEntries(requests) } }),
    readinessProbe: { httpGet: { path: "/", port: "plan" }, periodSeconds: 2 },
    terminationMessagePolicy: "FallbackToLogsOnError",
    ...RESTRICTED_CONTAINER,
    volumeMounts: [
      { name: "scratch", mountPath: "/tmp" },
      ...sourceMounts(run, READERS),
      ...bundles.volumeMounts,
    ],
  };
}

/** The run as its author wrote it: what the API server added is no part of a run file. */
export function runFileOf({ apiVersion, kind, metadata, spec }: TrainingRun): object {
  return { apiVersion, kind, metadata: { name: metadata.name }, spec };
}
