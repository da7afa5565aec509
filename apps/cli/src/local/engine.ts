/** How every engine of a run is opened: all of it from the plan (D1). */
import type { OpenOrtOptions } from "@oarlock/ort";
import type { ResolvedRun } from "@oarlock/runfile";

export function engineOf(run: ResolvedRun, threads: number): OpenOrtOptions {
  const { driver, provider, optimizationLevel, libraryPath } = run.spec.compute;
  return {
    driver,
    provider,
    threads,
    optimization: optimizationLevel,
    ...(libraryPath === "" ? {} : { library: libraryPath }),
  };
}
