/** The environment this package reads, once, at the edge. It knows names and defaults only. */

export interface OrtEnvironment {
  /** `OARLOCK_ORT_LIBRARY`: path of a `libonnxruntime` to use instead of the one that onnxruntime-node ships. */
  readonly library: string | undefined;
  /** `UV_THREADPOOL_SIZE` as node started with it (default 4): native calls share this pool with files and DNS. */
  readonly threadPoolSize: number;
}

export function readOrtEnvironment(env: NodeJS.ProcessEnv = process.env): OrtEnvironment {
  const size = Number(env["UV_THREADPOOL_SIZE"] ?? 4);
  return {
    library: env["OARLOCK_ORT_LIBRARY"] || undefined,
    threadPoolSize: Number.isInteger(size) && size > 0 ? Math.min(size, 1024) : 4,
  };
}
