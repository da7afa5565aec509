/** Data sets and reward functions that cannot be used; part of the table in `cases.ts`. */
import type { BadInput } from "./cases.ts";

const SFT_DATA =
  "data: { type: task, task: { name: addition, limit: 99 } }\n        steps: 20\n        optimizer";
const GRPO_DATA =
  "data: { type: task, task: { name: addition, limit: 99 } }\n        steps: 20\n        groupSize";
const REWARD = "{ name: answer, type: exact }";

const fileData = (path: string): readonly [string, string] => [
  SFT_DATA,
  `data: { type: file, file: { path: ${path} } }\n        steps: 20\n        optimizer`,
];
const grpoFile = (path: string): readonly [string, string] => [
  GRPO_DATA,
  `data: { type: file, file: { path: ${path} } }\n        steps: 20\n        groupSize`,
];
const functionReward = (options: string): readonly [string, string] => [
  REWARD,
  `{ name: mine, type: function, function: ${options} }`,
];

export const DATA_CASES: readonly BadInput[] = [
  { title: "data on a volume", change: [fileData("pvc://rows/a.jsonl")], says: ["kubectl apply"] },
  { title: "a data file that is not there", change: [fileData("./missing.jsonl")], says: ["missing.jsonl"] },
  {
    title: "a broken line of JSONL",
    change: [fileData("./rows.jsonl")],
    files: { "rows.jsonl": '{"prompt":"1+1=","completion":"2"}\n{"prompt": oops\n' },
    says: ["rows.jsonl", "2"],
  },
  {
    title: "rows that are not in UTF-8",
    change: [fileData("./rows.jsonl")],
    files: {
      "rows.jsonl": Buffer.from('{"prompt":"1+1=","completion":"2"}\n{"prompt":"\xe9"}\n', "latin1"),
    },
    says: ["rows.jsonl", "line 2", "UTF-8"],
  },
  {
    title: "rows nested without end",
    change: [fileData("./rows.jsonl")],
    files: {
      "rows.jsonl": `{"prompt":"1+1=","completion":"2","more":${"[".repeat(20_000)}${"]".repeat(20_000)}}\n`,
    },
    says: ["rows.jsonl", "line 1", "too deeply"],
  },
  { title: "a folder for a data file", change: [fileData("./.")], says: ["is a folder"] },
  {
    title: "an empty data file",
    change: [fileData("./rows.jsonl")],
    files: { "rows.jsonl": "" },
    says: ["rows.jsonl"],
  },
  {
    title: "a data file of an unknown kind",
    change: [fileData("./rows.xyz")],
    files: { "rows.xyz": "1+1=2" },
    says: ["rows.xyz"],
  },
  {
    title: "a Parquet file that is none",
    change: [fileData("./rows.parquet")],
    files: { "rows.parquet": "PAR1 not really" },
    says: ["rows.parquet"],
  },
  {
    title: "rows without a prompt",
    change: [fileData("./rows.jsonl")],
    files: { "rows.jsonl": '{"sum":"1+1=","total":"2"}\n' },
    says: ["rows.jsonl", "prompt"],
  },
  {
    title: "demonstrations without a completion",
    change: [fileData("./rows.jsonl")],
    files: { "rows.jsonl": '{"prompt":"1+1="}\n' },
    says: ["line 1 of ./rows.jsonl: ", "completion"],
  },
  {
    title: "a demonstration that ends with a question",
    change: [fileData("./rows.jsonl")],
    files: {
      "rows.jsonl": `${JSON.stringify({
        messages: [
          { role: "user", content: "1+1=" },
          { role: "assistant", content: "2" },
          { role: "user", content: "2+2=" },
        ],
      })}\n`,
    },
    says: ["line 1 of ./rows.jsonl: ", "completion"],
  },
  {
    title: "a character that the tokenizer does not have",
    change: [fileData("./rows.jsonl")],
    files: { "rows.jsonl": '{"prompt":"1+1=","completion":"2"}\n{"prompt":"1-1=","completion":"0"}\n' },
    says: ["line 2 of ./rows.jsonl: ", '"-"'],
  },
  {
    title: "a verifier without its answer",
    change: [grpoFile("./prompts.jsonl")],
    files: { "prompts.jsonl": '{"prompt":"1+1="}\n'.repeat(40) },
    says: ["REWARD_FIELD_MISSING", "answer"],
  },
  {
    title: "one row of many without its answer",
    change: [grpoFile("./prompts.jsonl")],
    files: {
      "prompts.jsonl": `${'{"prompt":"1+1=","answer":"2"}\n'.repeat(40)}{"prompt":"1+2="}\n`,
    },
    says: ["REWARD_FIELD_MISSING", "line 41 of ./prompts.jsonl has no text or number of that name"],
  },
  {
    title: "an answer that is a list",
    change: [grpoFile("./prompts.jsonl")],
    files: {
      "prompts.jsonl": `${'{"prompt":"1+1=","answer":"2"}\n'.repeat(40)}{"prompt":"1+2=","answer":["3"]}\n`,
    },
    says: ["REWARD_FIELD_MISSING", "line 41 of ./prompts.jsonl has no text or number of that name"],
  },
  {
    title: "an answer of one's own that is a list",
    change: [
      [
        GRPO_DATA,
        "data: { type: file, file: { path: ./prompts.jsonl, fields: { answer: sum } } }\n        steps: 20\n        groupSize",
      ],
    ],
    files: { "prompts.jsonl": '{"prompt":"1+2=","sum":["3"]}\n' },
    says: ["line 1", 'field "sum"', '["3"] (list)', "text or a number"],
  },
  {
    title: "an empty cell of answers in CSV",
    change: [grpoFile("./prompts.csv")],
    files: { "prompts.csv": `prompt,answer\n${"1+1=,2\n".repeat(40)}1+2=,\n` },
    says: ["REWARD_FIELD_MISSING", "row 41 of ./prompts.csv has no text or number of that name"],
  },
  {
    title: "a column twice in CSV",
    change: [fileData("./rows.csv")],
    files: { "rows.csv": "prompt,completion,prompt\n1+1=,2,1+2=\n" },
    says: ["rows.csv", "line 1", '"prompt" twice'],
  },
  {
    title: "a row that no tokenizer would end with",
    change: [fileData("./rows.jsonl")],
    files: {
      "rows.jsonl": `{"prompt":"1+1=","completion":"2"}\n{"prompt":"${"1".repeat(2_000_000)}","completion":"2"}\n`,
    },
    says: ["rows.jsonl", "line 2", "2000001 characters", "at most 1048576"],
  },
  {
    title: "fewer rows than one step takes",
    change: [grpoFile("./prompts.jsonl")],
    files: { "prompts.jsonl": '{"prompt":"1+1=","answer":"2"}\n' },
    says: ["DATA_SMALLER_THAN_STEP", "1 rows"],
  },
  {
    title: "a reward file that is not there",
    change: [functionReward("{ file: ./reward.ts }")],
    says: ["reward.ts"],
  },
  {
    title: "a reward file with a syntax error",
    change: [functionReward("{ file: ./reward.ts }")],
    files: { "reward.ts": "export const reward = (" },
    says: ["reward.ts"],
  },
  {
    title: "a reward file that imports what is not installed",
    change: [functionReward("{ file: ./reward.ts }")],
    files: { "reward.ts": 'import x from "not-installed-anywhere";\nexport const reward = () => x;' },
    says: ["not-installed-anywhere"],
  },
  {
    title: "a reward file that throws when it is imported",
    change: [functionReward("{ file: ./reward.ts }")],
    files: { "reward.ts": 'throw new TypeError("no table of answers");\nexport const reward = () => 1;' },
    says: ["REWARD_LOAD", "rewards[0]", "reward.ts", "no table of answers"],
  },
  {
    title: "a reward file without the function",
    change: [functionReward("{ file: ./reward.ts, export: score }")],
    files: { "reward.ts": "export const reward = 1;\nexport const grade = () => 1;" },
    says: ["reward.ts", '"score"', "only: grade, reward", "function.export"],
  },
  {
    title: "a CommonJS reward file without the function",
    change: [functionReward("{ file: ./reward.cjs }")],
    files: { "reward.cjs": "exports.grade = () => 1;" },
    says: ["reward.cjs", '"reward"', "grade"],
  },
];
