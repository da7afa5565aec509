/** Helpers of the tests: files beside the repository, folders that vanish, matchers for arrays of numbers. */
export { repositoryRoot, requireFile } from "./require-file.ts";
export type { RequireFileOptions, WantedFile } from "./require-file.ts";
export { requiredKinds, testedEngine } from "./config.ts";
export { findProgram, keptInCache, programCache, programFolders, unpackedArchive } from "./programs.ts";
export type { WantedArchive } from "./programs.ts";
export { watchIdleLoop } from "./idle-loop.ts";
export type { IdleLoop } from "./idle-loop.ts";
export { suiteFolder, temporaryFolder } from "./temporary-folder.ts";
export { compareArrays } from "./matchers.ts";
export type { Comparison, Tolerance } from "./matchers.ts";
export { HUB_COMMIT, startFakeHub } from "./fake-hub.ts";
export type { FakeHub, FakeHubOptions } from "./fake-hub.ts";
export { requirePython } from "./python.ts";
export { requireNatsServer } from "./require-nats.ts";
export { requireSoftwareVulkan } from "./software-vulkan.ts";
export {
  requireGrpcurl,
  requirePromtool,
  requireTool,
  startCollector,
  startJaeger,
} from "./observability-tools.ts";
export type { Collector, Jaeger, JaegerSpan, JaegerTrace, ObservabilityTool } from "./observability-tools.ts";
export { findKube } from "./kube/assets.ts";
export type { KubeAssets, KubeBinary } from "./kube/assets.ts";
export { startControlPlane } from "./kube/control-plane.ts";
export type {
  ClusterUser,
  ControlPlane,
  ControlPlaneOptions,
  ControlPlanePlace,
  KubectlOptions,
  KubectlResult,
} from "./kube/control-plane.ts";
export { createApi } from "./kube/api.ts";
export type { Api, ApiOptions, ApiRequestOptions, ApiResponse, WatchEvent } from "./kube/api.ts";
export { eventually, freePort, startProcess } from "./kube/process.ts";
export type { ServerProcess } from "./kube/process.ts";
export { startFaultProxy } from "./fault-proxy.ts";
export type { FaultProxy, FaultProxyOptions } from "./fault-proxy.ts";
export { startMessageProxy } from "./message-proxy.ts";
export type { Fate, MessageProxyOptions } from "./message-proxy.ts";
export { mountSmallDisk, requireMount } from "./small-disk.ts";
export type { SmallDisk } from "./small-disk.ts";
export { startProcessKubelet } from "./kube/process-kubelet.ts";
export type { ProcessKubelet, ProcessKubeletOptions } from "./kube/process-kubelet.ts";
