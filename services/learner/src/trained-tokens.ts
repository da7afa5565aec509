/** Which tokens of a row are trained. Pure. */
import type { TrainingRow } from "@oarlock/training";

/** Their indices. The first token has no log-prob, whatever its mask says. */
export function trainedOf({ lossMask }: TrainingRow): number[] {
  return Array.from(lossMask.keys()).filter((token) => token > 0 && lossMask[token] === 1);
}
