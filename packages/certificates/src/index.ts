export type { Authority, AuthorityOptions, CertificateRequest, Identity } from "./authority.ts";
export { openAuthority } from "./authority.ts";
export { deriveKey } from "./derive.ts";
export type { IdentityProblem } from "./identity.ts";
export { expiresAtMs, problemOf } from "./identity.ts";
