/** Conditions: a map by type whose times change only with the status. Pure; time is an argument. */

export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  /** CamelCase, never empty. */
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
  readonly observedGeneration?: number;
}

/** What is observed now; its time follows. */
export type Observation = Omit<Condition, "lastTransitionTime">;

/** The observations as conditions: those whose status did not change keep their time. */
export function withTimes(
  before: readonly Condition[],
  now: readonly Observation[],
  time: string,
): readonly Condition[] {
  return now.map((observed) => {
    const same = before.find(({ type, status }) => type === observed.type && status === observed.status);
    return { ...observed, lastTransitionTime: same?.lastTransitionTime ?? time };
  });
}

/** The condition of a type. */
export function conditionOf(conditions: readonly Condition[], type: string): Condition | undefined {
  return conditions.find((condition) => condition.type === type);
}

/** Whether a condition is there and true. */
export function isTrue(conditions: readonly Condition[], type: string): boolean {
  return conditionOf(conditions, type)?.status === "True";
}
