/** `npm run metrics-docs`: writes the list of metrics in docs/metrics.md from the code; `--check` fails where it has drifted. */
import { readFileSync, writeFileSync } from "node:fs";
import { ACTOR_INSTRUMENTS } from "@oarlock/actor";
import { CONTROLLER_INSTRUMENTS } from "@oarlock/kube";
import { BUS_INSTRUMENTS, LEARNER_INSTRUMENTS } from "@oarlock/learner";
import { REWARD_INSTRUMENTS } from "@oarlock/reward";
import { RPC_INSTRUMENTS } from "@oarlock/rpc";
import { PROCESS_INSTRUMENTS, type Instruments } from "@oarlock/runtime";
import { prometheusName } from "@oarlock/telemetry";

const FILE = "docs/metrics.md";
const [BEGIN, END] = ["<!-- generated: npm run metrics-docs -->", "<!-- end of generated -->"];

const SECTIONS: readonly (readonly [string, Instruments])[] = [
  ["Learner", LEARNER_INSTRUMENTS],
  ["Bus, as the learner sees it", BUS_INSTRUMENTS],
  ["Actor", ACTOR_INSTRUMENTS],
  ["Reward worker", REWARD_INSTRUMENTS],
  ["gRPC, of every service", RPC_INSTRUMENTS],
  ["Process", PROCESS_INSTRUMENTS],
  ["Controller", CONTROLLER_INSTRUMENTS],
];

function section([title, instruments]: (typeof SECTIONS)[number]): string {
  const rows = Object.values(instruments).map((instrument) => {
    const { name, kind, unit, description, attributes = [] } = instrument;
    const labels = attributes.map((label) => `\`${label}\``).join(", ");
    const cells = [
      `\`${name}\``,
      `\`${prometheusName(instrument)}\``,
      kind,
      unit === "" ? "" : `\`${unit}\``,
      labels,
    ];
    return `| ${[...cells, description].join(" | ")} |`;
  });
  const head =
    "| instrument | in Prometheus | kind | unit | attributes | what |\n| --- | --- | --- | --- | --- | --- |";
  return `## ${title}\n\n${head}\n${rows.join("\n")}\n`;
}

const text = readFileSync(FILE, "utf8");
const [start, end] = [text.indexOf(BEGIN), text.indexOf(END)];
if (start < 0 || end < start) throw new Error(`${FILE} has lost its markers`);
const wanted = `${text.slice(0, start + BEGIN.length)}\n\n${SECTIONS.map(section).join("\n")}\n${text.slice(end)}`;
if (!process.argv.includes("--check")) writeFileSync(FILE, wanted);
// The formatter pads the cells of tables: spaces say nothing.
else if (squeezed(wanted) !== squeezed(text)) {
  console.error(`${FILE} differs from the code; run npm run metrics-docs`);
  process.exitCode = 1;
}

function squeezed(markdown: string): string {
  return markdown.replaceAll(/ +/g, " ").replaceAll(/-{3,}/g, "---");
}
