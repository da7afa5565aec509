/** The environment this package reads, once, at the edge. It knows names and defaults only. */

export interface OrtEnvironment {
  /** `OARLOCK_ORT_LIBRARY`: path of a `libonnxruntime` to use instead of the one that onnxruntime-node ships. */
  readonly library: string | undefined;
  /** `OARLOCK_CUDA_LIBRARIES`: folder of CUDA's own libraries, where the loader does not find them by itself. */
  readonly cudaLibraries: string | undefined;
  /** `UV_THREADPOOL_SIZE` as node started with it (default 4): native calls share this pool with files and DNS. */
  readonly threadPoolSize: number;
}

export function readOrtEnvironment(env: NodeJS.ProcessEnv = process.env): OrtEnvironment {
  const size = Number(env["UV_THREADPOOL_SIZE"] ?? 4);
  return {
    library: env["OARLOCK_ORT_LIBRARY"] || undefined,
    cudaLibraries: env["OARLOCK_CUDA_LIBRARIES"] || undefined,
    threadPoolSize: Number.isInteger(size) && size > 0 ? Math.min(size, 1024) : 4,
  };
}

/**
 * From 1.29 on the published ONNX Runtime tells its maker what is done with it (names and hashes of models among it), and
 * keeps what it could not send yet under the user's cache and temporary folders, unless this variable is set before the
 * library is loaded. We set it; whoever sets it to 0 has chosen.
 */
export function declineTelemetry(env: NodeJS.ProcessEnv = process.env): void {
  env["ORT_DISABLE_TELEMETRY"] ??= "1";
}
