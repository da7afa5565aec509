/** A line of a run's logs for people: what a learner writes for programs becomes words, the rest stays. Pure. */
import { shortDigest } from "@oarlock/errors";
import type { LearnerLine } from "@oarlock/learner";
import type { TextStyle } from "@oarlock/report";
import { eventLine, isRunEvent } from "../render/events.ts";

/** What kubectl puts in front, and an object. */
const EVENT = /^(\[[^\]]*\] )?(\{"type":.*\})$/;

export function readableLine(line: string, style: TextStyle): string {
  const [, prefix = "", text] = EVENT.exec(line) ?? [];
  const event = text === undefined ? undefined : parse(text);
  const words = event && wordsOf(event, style);
  return words === undefined ? line : `${prefix}${words}`;
}

/** JSON has no NaN: null where a number was none. */
function parse(text: string): LearnerLine | undefined {
  try {
    return JSON.parse(text, (_, value: unknown) => value ?? Number.NaN) as LearnerLine; // looked at by its type
  } catch {
    return undefined;
  }
}

function wordsOf(event: LearnerLine, style: TextStyle): string | undefined {
  if (isRunEvent(event)) return eventLine(event, style);
  if (event.type !== "ended") return undefined;
  const { status, steps, policy } = event;
  return `${style.bold(status)} after ${steps} steps, policy ${policy.number} ${style.dim(shortDigest(policy.digest))}`;
}
