/**
 * What held-out pairs say of a reward model: how often the preferred answer scores higher, whether its probabilities can be
 * believed, and how scores are spread. Decisions of another kind (a step is right or wrong) are leads too. Pure: scores in,
 * numbers out.
 */
import { type Estimate, estimateShare } from "./pass-at-k.ts";
import { softplus } from "./softplus.ts";

export interface PairScores {
  readonly preferred: number;
  readonly rejected: number;
}

/** A bar of a histogram: `from` ≤ lead < `to`. */
export interface HistogramBar {
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

/** Decisions whose confidence, from ½ to 1, lies in one bin. */
export interface ReliabilityBin {
  readonly count: number;
  /** Mean σ(|lead|). */
  readonly confidence: number;
  /** Share that is right. */
  readonly accuracy: number;
}

/** What leads say: of each decision, by how much the right side is ahead, in log-odds. Of a pair: R_w − R_l. */
export interface LeadReport {
  /** Share of leads above 0, a tie counting half, with its 95 % interval (Wilson). */
  readonly accuracy: Estimate;
  /** Expected calibration error of σ(|lead|), over ten bins of equal width. */
  readonly calibrationError: number;
  /** Those of the bins that hold a decision. */
  readonly reliability: readonly ReliabilityBin[];
  /** −log σ(lead), mean. */
  readonly loss: number;
  readonly meanLead: number;
  readonly margins: readonly HistogramBar[];
}

const CALIBRATION_BINS = 10;
const HISTOGRAM_BARS = 20;

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** What pairs say; see `leadReport`. */
export function pairReport(pairs: readonly PairScores[]): LeadReport {
  return leadReport(pairs.map(({ preferred, rejected }) => preferred - rejected));
}

/** Throws nothing: no leads give an accuracy of 0 over 0 and an empty histogram. */
export function leadReport(leads: readonly number[]): LeadReport {
  const count = Math.max(1, leads.length);
  const wins = leads.reduce((total, lead) => total + winOf(lead), 0);
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  const reliability = reliabilityBins(leads);
  return {
    accuracy: estimateShare(wins, leads.length),
    calibrationError: sum(
      reliability.map((bin) => (bin.count / count) * Math.abs(bin.accuracy - bin.confidence)),
    ),
    reliability,
    loss: sum(leads.map((lead) => softplus(-lead))) / count,
    meanLead: sum(leads) / count,
    margins: histogram(leads, HISTOGRAM_BARS),
  };
}

/** Half where nothing is ahead. */
export const winOf = (lead: number): number => (lead > 0 ? 1 : lead === 0 ? 0.5 : 0);

/**
 * Decisions by confidence (Guo et al., arXiv:1706.04599): the side that is ahead is predicted with confidence σ(|lead|), from ½ to
 * 1. The expected calibration error is Σ over the bins of their share · |accuracy − mean confidence|.
 */
function reliabilityBins(leads: readonly number[]): ReliabilityBin[] {
  const bins = Array.from({ length: CALIBRATION_BINS }, () => ({ count: 0, confidence: 0, wins: 0 }));
  for (const lead of leads) {
    const confidence = sigmoid(Math.abs(lead));
    const index = Math.min(CALIBRATION_BINS - 1, Math.floor((confidence - 0.5) * 2 * CALIBRATION_BINS));
    const bin = bins[index];
    if (bin === undefined) continue; // one for every index
    bin.count += 1;
    bin.confidence += confidence;
    bin.wins += winOf(lead);
  }
  return bins
    .filter(({ count }) => count > 0)
    .map(({ count, confidence, wins }) => ({
      count,
      confidence: confidence / count,
      accuracy: wins / count,
    }));
}

/** Bars of equal width over the range of `values`. */
function histogram(values: readonly number[], bars: number): HistogramBar[] {
  if (values.length === 0) return [];
  const low = values.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
  const high = values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  const width = high > low ? (high - low) / bars : 1;
  const counts = Array.from({ length: high > low ? bars : 1 }, () => 0);
  for (const value of values) {
    const bar = Math.min(counts.length - 1, Math.floor((value - low) / width));
    counts[bar] = (counts[bar] ?? 0) + 1;
  }
  return counts.map((count, i) => ({ from: low + i * width, to: low + (i + 1) * width, count }));
}
