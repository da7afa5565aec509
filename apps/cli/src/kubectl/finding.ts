/** One thing that `kubectl oarlock doctor` found, with its remedy. */

export interface Finding {
  readonly check: string;
  readonly state: "ok" | "warning" | "failed" | "unknown";
  readonly message: string;
  readonly fix?: string;
}

/** How the controller is installed. */
export const INSTALL = "kubectl apply -k deploy/k8s/base";
/** Where the user's rights end. */
export const AS_ADMINISTRATOR = "have somebody run `kubectl oarlock doctor` who may";

export function ok(check: string, message: string): Finding {
  return { check, state: "ok", message };
}
