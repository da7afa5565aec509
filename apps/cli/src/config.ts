/** The environment that the command line reads, once. */

export interface CliEnvironment {
  /** NO_COLOR, https://no-color.org. */
  readonly noColor: boolean;
  /** OARLOCK_MEMORY_BYTES: memory that plans may count on, instead of what the system reports. */
  readonly memoryBytes: number | undefined;
}

export function readCliEnvironment(env: NodeJS.ProcessEnv = process.env): CliEnvironment {
  const memory = Number(env["OARLOCK_MEMORY_BYTES"] ?? Number.NaN);
  return {
    noColor: (env["NO_COLOR"] ?? "") !== "",
    memoryBytes: Number.isFinite(memory) && memory > 0 ? memory : undefined,
  };
}
