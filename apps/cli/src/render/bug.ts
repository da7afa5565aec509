/** What is shown of a failure that is not an expected one: the lines that a bug report needs. Pure. */

/** The stack of the failure and of its causes. */
export function bugReport(reason: unknown): string {
  const stacks: string[] = [];
  for (let at = reason; at instanceof Error && stacks.length < 8; at = at.cause)
    stacks.push(at.stack ?? at.message);
  return `This is a bug in Oarlock; please report it with these lines:\n${stacks.join("\ncaused by ") || String(reason)}`;
}
