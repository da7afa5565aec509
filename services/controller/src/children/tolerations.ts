/**
 * How long a role's pods wait for a node that does not answer before they are given up: shorter than Kubernetes' five minutes, since
 * another pod goes on where this one was, and whatever comes back from there is fenced (F1). Pure.
 */
import type { RoleSpec } from "@oarlock/runfile";
import type { Fields } from "./pod-parts.ts";

/** After the 50 s or so in which Kubernetes notices. */
const LOST_NODE_SECONDS = 60;
const LOST_NODE_TAINTS = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] as const;

/** The run's own, and for a lost node where those say nothing of it. */
export function tolerations(given: RoleSpec["tolerations"] = []): readonly Fields[] {
  const isBorne = (taint: string): boolean =>
    given.some(({ key = taint, effect = "NoExecute" }) => key === taint && effect === "NoExecute");
  return [
    ...given.map((toleration) => ({ ...toleration })),
    ...LOST_NODE_TAINTS.filter((taint) => !isBorne(taint)).map((key) => ({
      key,
      operator: "Exists",
      effect: "NoExecute",
      tolerationSeconds: LOST_NODE_SECONDS,
    })),
  ];
}
