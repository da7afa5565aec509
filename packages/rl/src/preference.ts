/**
 * Losses over preferences, in plain numbers: the reference that the graph forms are held against. Scores are those of the
 * reward model; the answer that people preferred comes first.
 */

import { softplus } from "./softplus.ts";

export interface PairSettings {
  /** m (Llama 2, arXiv:2307.09288, eq. 2): by how much the preferred answer should lead. Default 0. */
  readonly margin?: number;
  /** η: weight of (R_w + R_l)², which keeps scores around 0 (TRL's `center_rewards_coefficient`). Default 0. */
  readonly centering?: number;
}

/** Bradley–Terry (1952): −log σ(R_w − R_l − m) + η·(R_w + R_l)². */
export function bradleyTerryLoss(
  preferred: number,
  rejected: number,
  { margin = 0, centering = 0 }: PairSettings = {},
): number {
  return softplus(margin - (preferred - rejected)) + centering * (preferred + rejected) ** 2;
}

/**
 * Plackett–Luce (1975) over a ranking, best first: −Σ_ℓ [R_ℓ − log Σ_{k ≥ ℓ} e^{R_k}]. Two answers give Bradley–Terry.
 */
export function plackettLuceLoss(ranked: readonly number[]): number {
  return ranked.reduce((total, score, place) => {
    const rest = ranked.slice(place);
    const most = Math.max(...rest);
    const sum = rest.reduce((all, other) => all + Math.exp(other - most), 0);
    return total - (score - most - Math.log(sum));
  }, 0);
}

/** InstructGPT (arXiv:2203.02155, eq. 1): the mean of Bradley–Terry over all K(K − 1)/2 pairs of a ranking, best first. */
export function allPairsLoss(ranked: readonly number[]): number {
  const losses = ranked.flatMap((preferred, place) =>
    ranked.slice(place + 1).map((rejected) => bradleyTerryLoss(preferred, rejected)),
  );
  return losses.length === 0 ? 0 : losses.reduce((total, loss) => total + loss, 0) / losses.length;
}
