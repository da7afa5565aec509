/** The run file of a benchmark around what it measures: no checkpoint in the way, seed 0 where the spec names none. */
export function benchRunFile(spec: Readonly<Record<string, unknown>>): string {
  const checkpoints = { every: 1000, keep: 1 };
  return JSON.stringify({
    apiVersion: "oarlock.dev/v1alpha1",
    kind: "TrainingRun",
    metadata: { name: "bench" },
    spec: { seed: 0, checkpoints, ...spec },
  });
}
