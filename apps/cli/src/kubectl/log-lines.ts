/** A line of a run's logs for people: what a learner writes for programs becomes words, the rest stays. Pure. */
import { shortDigest } from "@oarlock/errors";
import type { LearnerLine } from "@oarlock/learner";
import type { TextStyle } from "@oarlock/report";
import { eventLine, isRunEvent } from "../render/events.ts";

/** What kubectl puts in front, and an object. */
const EVENT = /^(\[[^\]]*\] )?(\{"type":.*\})$/;

export function readableLine(line: string, style: TextStyle): string {
  const [, prefix = "", text] = EVENT.exec(line) ?? [];
  if (text === undefined) return line;
  try {
    // JSON has no NaN: null where a number was none.
    const event = JSON.parse(text, (_, value: unknown) => value ?? Number.NaN) as LearnerLine; // looked at by its type
    const words = wordsOf(event, style);
    return words === undefined ? line : `${prefix}${words}`;
  } catch {
    // Half a line, or one of another program that has the same type.
    return line;
  }
}

function wordsOf(event: LearnerLine, style: TextStyle): string | undefined {
  if (isRunEvent(event)) return eventLine(event, style);
  if (event.type !== "ended") return undefined;
  const { status, steps, policy } = event;
  return `${style.bold(status)} after ${steps} steps, policy ${policy.number} ${style.dim(shortDigest(policy.digest))}`;
}
