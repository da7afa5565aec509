/** Samples in a terminal: prompt, completions before and after, rewards. Model-written text is made safe. Pure. */
import type { SampleRecord } from "../records.ts";
import { formatNumber } from "./progress.ts";
import { clip, PLAIN, safeText, type TextStyle } from "./style.ts";

/** One prompt with what the policy said before and after. */
export interface SamplePair {
  readonly stage: string;
  readonly promptIndex: number;
  readonly prompt: string;
  readonly answer?: string;
  readonly before?: SampleRecord;
  readonly after?: SampleRecord;
}

/** Pairs evaluation samples of the same prompt before the first and after the last stage that has them. */
export function pairSamples(samples: readonly SampleRecord[], most: number): SamplePair[] {
  const evaluated = samples.filter(({ kind, sample }) => kind === "evaluation" && sample === 0);
  const preferGreedy = evaluated.some(({ greedy }) => greedy === true);
  const chosen = evaluated.filter(({ greedy }) => (greedy === true) === preferGreedy);
  const prompts = [...new Set(chosen.map(({ promptIndex }) => promptIndex))].slice(0, most);
  return prompts.flatMap((promptIndex) => {
    const ofPrompt = chosen.filter((sample) => sample.promptIndex === promptIndex);
    const before = ofPrompt.find(({ when }) => when === "before");
    const after = ofPrompt.findLast(({ when }) => when === "after");
    const any = after ?? before;
    if (any === undefined) return [];
    const { stage, prompt, answer } = any;
    return [
      {
        stage,
        promptIndex,
        prompt,
        ...(answer === undefined ? {} : { answer }),
        ...(before === undefined ? {} : { before }),
        ...(after === undefined ? {} : { after }),
      },
    ];
  });
}

/** Several lines per pair: prompt, before, after, each with its reward. */
export function renderPairs(pairs: readonly SamplePair[], width: number, style: TextStyle = PLAIN): string {
  return pairs
    .map(({ prompt, answer, before, after }) => {
      const wanted = answer === undefined ? "" : style.dim(`   (wanted: ${oneLine(answer, width)})`);
      return [
        `${style.bold(oneLine(prompt, width))}${wanted}`,
        sampleRow("before", before, width, style),
        sampleRow("after", after, width, style),
      ]
        .filter((line) => line !== "")
        .join("\n");
    })
    .join("\n\n");
}

function sampleRow(label: string, sample: SampleRecord | undefined, width: number, style: TextStyle): string {
  if (sample === undefined) return "";
  const reward = sample.total === null ? style.bad("failed") : formatNumber(sample.total);
  return `  ${style.dim(label.padEnd(6))} ${reward.padStart(6)}  ${oneLine(sample.completion, width - 18)}`;
}

function oneLine(text: string, width: number): string {
  return clip(safeText(text).replaceAll("\n", "⏎"), width);
}

/** One sample in full, with its rewards by name. */
export function renderSample(sample: SampleRecord, style: TextStyle = PLAIN): string {
  const rewards = Object.entries(sample.rewards).map(
    ([name, value]) => `${name} ${value === null ? "failed" : formatNumber(value)}`,
  );
  const head = `${sample.stage} step ${sample.step}, prompt ${sample.promptIndex}, sample ${sample.sample}`;
  const trace = sample.traceId === undefined ? "" : ` · trace ${safeText(sample.traceId)}`;
  return [
    style.dim(`── ${head} · ${rewards.join(" · ")} · ${safeText(sample.finishReason)}${trace}`),
    style.bold(safeText(sample.prompt)),
    safeText(sample.completion),
    ...(sample.failure === undefined ? [] : [style.bad(`failed: ${safeText(sample.failure)}`)]),
  ].join("\n");
}
