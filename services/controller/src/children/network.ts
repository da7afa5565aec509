/**
 * Who reaches a run's pods: its own roles and the controller on the gRPC port, namespaces labelled `metrics: enabled` on the
 * metrics port, and nobody else.
 */
import { ROLES } from "../roles.ts";
import type { TrainingRun } from "../api.ts";
import { childName, RUN_LABEL, selectorLabels } from "../names.ts";
import { type Child, child } from "./child.ts";
import { type ChildSettings, GRPC_PORT, METRICS_PORT } from "./settings.ts";

/** The network policy of a run. */
export function networkPolicy(run: TrainingRun, { namespace }: ChildSettings): Child {
  const { name } = run.metadata;
  const ownPods = { podSelector: { matchLabels: { [RUN_LABEL]: name } } };
  const controller = {
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } },
    podSelector: { matchLabels: { "app.kubernetes.io/component": "controller" } },
  };
  const spec = {
    podSelector: { matchLabels: { [RUN_LABEL]: name } },
    policyTypes: ["Ingress"],
    ingress: [
      { from: [ownPods, controller], ports: [{ protocol: "TCP", port: GRPC_PORT }] },
      {
        from: [{ namespaceSelector: { matchLabels: { metrics: "enabled" } } }],
        ports: [{ protocol: "TCP", port: METRICS_PORT }],
      },
    ],
  };
  return child(run, { kind: "NetworkPolicy", name }, { spec });
}

/** A headless Service per role: gRPC clients see every pod and balance among them. */
export function services(run: TrainingRun): readonly Child[] {
  return ROLES.map((role) => {
    const spec = {
      clusterIP: "None",
      selector: selectorLabels(run.metadata.name, role),
      ports: [{ name: "grpc", port: GRPC_PORT, targetPort: "grpc", protocol: "TCP" }],
    };
    return child(run, { kind: "Service", name: childName(run.metadata.name, role), role }, { spec });
  });
}

/** An account per role, without a token and without any right. */
export function serviceAccounts(run: TrainingRun): readonly Child[] {
  return ROLES.map((role) =>
    child(
      run,
      { kind: "ServiceAccount", name: childName(run.metadata.name, role), role },
      { automountServiceAccountToken: false },
    ),
  );
}
