/** Helpers of the tests: files beside the repository, folders that vanish, matchers for arrays of numbers. */
export { repositoryRoot, requireFile } from "./require-file.ts";
export type { RequireFileOptions, WantedFile } from "./require-file.ts";
export { requiredKinds } from "./config.ts";
export { temporaryFolder } from "./temporary-folder.ts";
export { compareArrays } from "./matchers.ts";
export type { Comparison, Tolerance } from "./matchers.ts";
export { HUB_COMMIT, startFakeHub } from "./fake-hub.ts";
export type { FakeHub, FakeHubOptions } from "./fake-hub.ts";
export { requireNatsServer } from "./require-nats.ts";
export { startFaultProxy } from "./fault-proxy.ts";
export type { FaultProxy, FaultProxyOptions } from "./fault-proxy.ts";
