/** W3 in stages that no guard watches: a first update that is not finite would be followed by others. Pure. */
import { OarlockError } from "@oarlock/errors";

/**
 * A stage without guards whose very first update was rejected would go on without learning, and end as if it had.
 * @throws OarlockError `UPDATE_NOT_FINITE`
 */
export function checkFirstUpdate(
  stage: string,
  step: number,
  { applied, gradNorm }: { readonly applied: boolean; readonly gradNorm: number },
): void {
  if (applied || step > 1) return;
  throw new OarlockError(
    "UPDATE_NOT_FINITE",
    `stage ${stage}, step ${step}: the first update is not finite (gradient norm ${gradNorm}): the weights that it starts from or ` +
      "its first rows make no number",
  );
}
