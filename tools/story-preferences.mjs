/**
 * Makes the data of `examples/rlhf-stories.yaml` from a model's own samples: pairs by a hidden rule (the more joyful story), and
 * demonstrations of a style (stories in which somebody speaks).
 *
 *     oarlock run examples/stories.yaml --out runs/samples --set evaluation=null --set output.samplesPerStep=128 \
 *       --set 'stages.happy.grpo.optimizer={learningRate: 0, warmupSteps: 0}' --set 'allow=[LEARNING_RATE_RANGE]'
 *     node tools/story-preferences.mjs runs/samples/samples.jsonl examples
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { joy } from "../examples/joyful.mjs";

const MOST_PAIRS = 480;
const MOST_DEMONSTRATIONS = 160;

const [source = "samples.jsonl", target = "examples"] = process.argv.slice(2);
const samples = readFileSync(source, "utf8")
  .split("\n")
  .filter((line) => line !== "")
  .map((line) => JSON.parse(line));

const words = new Set(
  samples.flatMap(({ completion }) => completion.match(/(?<=\s)[a-z]+(?=[\s.,!?])/gi) ?? []),
);

/** A sample is told without the space that its first word begins with: there is none before a sign, or in the prompt's last word. */
const continued = ({ prompt, completion }) => {
  const [last] = /[a-z]*$/i.exec(prompt);
  const [first] = /^[a-z]*/i.exec(completion);
  const isOneWord = first !== "" && words.has(last + first) && !words.has(first);
  return isOneWord || /^[\s.,!?]/.test(completion) ? completion : ` ${completion}`;
};

const byPrompt = Map.groupBy
  ? Map.groupBy(samples, ({ prompt }) => prompt)
  : samples.reduce(
      (groups, sample) => groups.set(sample.prompt, [...(groups.get(sample.prompt) ?? []), sample]),
      new Map(),
    );

const pairs = [...byPrompt].flatMap(([prompt, group]) => {
  const ranked = group.map(continued).toSorted((a, b) => joy(b) - joy(a));
  return ranked
    .slice(0, Math.floor(ranked.length / 2))
    .map((chosen, i) => ({ prompt, chosen, rejected: ranked[ranked.length - 1 - i] }))
    .filter(({ chosen, rejected }) => joy(chosen) > joy(rejected));
});
const speaking = samples
  .filter(({ completion }) => completion.includes('"'))
  .map((sample) => ({ prompt: sample.prompt, completion: continued(sample) }));

const write = (name, rows) =>
  writeFileSync(join(target, name), `${rows.map((row) => JSON.stringify(row)).join("\n")}\n`);
write("story-preferences.jsonl", pairs.slice(0, MOST_PAIRS));
write("story-style.jsonl", speaking.slice(0, MOST_DEMONSTRATIONS));
process.stdout.write(
  `${pairs.length} pairs, ${speaking.length} demonstrations from ${samples.length} samples\n`,
);
