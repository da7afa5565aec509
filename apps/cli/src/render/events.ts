/** What happens in a run, a line each. Pure. */
import { shortDigest } from "@oarlock/errors";
import { safeText, stepLine, type TextStyle } from "@oarlock/report";
import type { RunEvent } from "../local/index.ts";
import { REACTIONS, renderEvaluation } from "./outcome.ts";

type Of<T extends RunEvent["type"]> = Extract<RunEvent, { type: T }>;

const LINES: { readonly [T in RunEvent["type"]]: (event: Of<T>, style: TextStyle) => string } = {
  stage: ({ stage, steps }, style) => `${style.bold(`stage ${stage}`)} ${style.dim(`${steps} steps`)}`,
  kept: ({ stage, steps, digest }, style) =>
    `${style.bold(`stage ${stage}`)} ${style.dim(`is kept: ${steps} steps, ${shortDigest(digest)}`)}`,
  step: stepLine,
  evaluation: renderEvaluation,
  reached: ({ stage, step, score, value, atLeast }) =>
    `stage ${stage} ends at step ${step}: ${score} ${value.toFixed(3)}, asked for ${atLeast}`,
  missed: ({ stage, step, score, value, atLeast }, style) =>
    style.bad(
      `warning: stage ${stage} ends with its last step, ${step}: ${score} ${value.toFixed(3)}, asked for ${atLeast}`,
    ),
  alarm: ({ stage, step, reaction, message }, style) =>
    style.bad(`alarm: ${stage} step ${step}: ${message}; ${REACTIONS[reaction]}`),
  scorer: ({ scorer, version, stage, step }) => `${scorer} is ${version} from step ${step} of ${stage} on`,
  checkpoint: ({ globalStep }, style) => style.dim(`checkpoint at step ${globalStep}`),
  skipped: ({ reason }, style) =>
    style.bad(`warning: a checkpoint is damaged, and an older one is looked for: ${reason}`),
  warning: ({ message }, style) => style.bad(`warning: ${message}`),
  unscored: ({ stage, step, failed, of, reason }, style) =>
    style.bad(
      `warning: ${stage} step ${step}: ${failed} of ${of} samples could not be scored; the first: ${safeText(reason)}`,
    ),
  stalled: ({ message }, style) => style.bad(`stalled: ${message}`),
  rejected: ({ stage, step, reason }, style) =>
    style.bad(`${stage} step ${step}: update rejected: ${reason}`),
};

/** Whether it is something that a line can be made of. */
export function isRunEvent(value: { readonly type?: unknown }): value is RunEvent {
  return typeof value.type === "string" && Object.hasOwn(LINES, value.type);
}

export function eventLine(event: RunEvent, style: TextStyle): string {
  // The table is exhaustive by its type; the event's own type picks its entry.
  return (LINES[event.type] as (event: RunEvent, style: TextStyle) => string)(event, style);
}
