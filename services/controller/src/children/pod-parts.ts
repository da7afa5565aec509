/** What all pods of a run have in common: they pass the *restricted* level, and reach no API server. Pure. */

/** Fields of an object, as they are applied. */
export type Fields = Readonly<Record<string, unknown>>;

const USER = 10_001;

/** Of every pod. */
export const RESTRICTED_POD: Fields = {
  automountServiceAccountToken: false,
  enableServiceLinks: false,
  securityContext: {
    runAsNonRoot: true,
    runAsUser: USER,
    runAsGroup: USER,
    fsGroup: USER,
    seccompProfile: { type: "RuntimeDefault" },
  },
};

/** Of every container. */
export const RESTRICTED_CONTAINER: Fields = {
  securityContext: {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"] },
  },
};

/** A field where there is a value for it. */
export function given(name: string, value: unknown): Fields {
  return value === undefined ? {} : { [name]: value };
}

/** Owner and group read, as the group of the pod's volumes. */
const FILE_MODE = 0o440;

/** A Secret as read-only files in a folder. */
export function mountedSecret(
  name: string,
  { mountPath, secretName }: { readonly mountPath: string; readonly secretName: string | undefined },
): { readonly volumes: readonly Fields[]; readonly volumeMounts: readonly Fields[] } {
  return {
    volumes: [{ name, secret: { secretName, defaultMode: FILE_MODE } }],
    volumeMounts: [{ name, mountPath, readOnly: true }],
  };
}
