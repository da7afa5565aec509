/** `oarlock chat MODEL`: talk to a model; one answer with `--prompt`, a conversation without. */
import { createInterface } from "node:readline/promises";
import { Command } from "commander";
import { isOarlockError, OarlockError } from "@oarlock/errors";
import { safeText } from "@oarlock/report";
import type { ChatMessage } from "@oarlock/tokenizer";
import type { CommandContext } from "../context.ts";
import { EXIT } from "../exit-codes.ts";
import { DEFAULT_COMPUTE, openPolicy, type Policy } from "../inference/policy.ts";
import { promptTokens, type Rendering } from "@oarlock/workload";
import { openNamedModel } from "../model-argument.ts";
import { loadingLine } from "../render/loading.ts";
import { amount, wholeNumber } from "../options.ts";

/** Tokens of a conversation at most, where the model holds more. */
const MOST_POSITIONS = 4096;

interface ChatOptions {
  readonly prompt?: string;
  readonly system: string;
  readonly temperature: number;
  readonly topP: number;
  readonly maxNewTokens: number;
  readonly seed: number;
}

export function chatCommand(context: CommandContext): Command {
  return new Command("chat")
    .description("Talk to a model, or complete text with one that has no chat template.")
    .argument("<model>", "run folder, model folder, or hf://org/name")
    .option("--prompt <text>", "answer this and end")
    .option("--system <text>", "system message", "")
    .option("--temperature <number>", "0 is greedy", amount, 0)
    .option("--top-p <number>", "keep the likeliest tokens of this mass", amount, 1)
    .option("--max-new-tokens <number>", "tokens per answer at most", wholeNumber, 256)
    .option("--seed <number>", "seed of the sampling", wholeNumber, 0)
    .addHelpText("after", EXAMPLES)
    .action(async (named: string, options: ChatOptions) => {
      const model = await openNamedModel(named, { onProgress: loadingLine(context.terminal) });
      if (options.system !== "" && model.tokenizer.templateDigest === "") {
        throw new OarlockError(
          "TOKENIZER_NO_TEMPLATE",
          `--system ${JSON.stringify(options.system)}: ${named} has no chat template, so it continues text as it is; accepted: no --system`,
        );
      }
      const maxLength = Math.min(model.config.maxPositions, MOST_POSITIONS);
      await using policy = await openPolicy(model, {
        compute: DEFAULT_COMPUTE,
        slots: 1,
        workers: 1,
        maxLength,
      });
      if (options.prompt === undefined) await converse(context, policy, options);
      else context.terminal.print(await answer(policy, [{ role: "user", content: options.prompt }], options));
    });
}

/** What cannot be answered, as a character that the model does not know, leaves the conversation as it was. */
async function converse(
  { terminal, exit }: CommandContext,
  policy: Policy,
  options: ChatOptions,
): Promise<void> {
  const { style, interactive } = terminal;
  const chats = policy.tokenizer.templateDigest !== "";
  terminal.note(
    style.dim(
      chats
        ? "empty line or Ctrl-D ends"
        : "no chat template: the model continues your text; empty line ends",
    ),
  );
  const prompt = interactive ? style.bold("> ") : "> ";
  const lines = createInterface({ input: process.stdin, output: process.stderr, prompt });
  const messages: ChatMessage[] = [];
  lines.prompt();
  for await (const line of lines) {
    if (line.trim() === "") break;
    const asked: ChatMessage = { role: "user", content: line };
    try {
      const content = await answer(policy, chats ? [...messages, asked] : [asked], options);
      messages.push(asked, { role: "assistant", content });
      terminal.print(content);
    } catch (reason) {
      if (!isOarlockError(reason)) throw reason;
      terminal.note(`${style.bad("error")} ${reason.message}`);
      if (!process.stdin.isTTY) exit(EXIT.refused);
    }
    lines.prompt();
  }
  lines.close();
}

/** One answer, safe to print. */
async function answer(
  policy: Policy,
  messages: readonly ChatMessage[],
  options: ChatOptions,
): Promise<string> {
  const chats = policy.tokenizer.templateDigest !== "";
  const rendering: Rendering = { systemPrompt: options.system, chatTemplate: chats ? "always" : "never" };
  const last = messages.at(-1)?.content ?? "";
  const { tokens } = promptTokens(chats ? messages : last, rendering, policy.tokenizer);
  const room = policy.maxLength - tokens.length;
  if (room < 1) {
    const message = `the conversation has ${tokens.length} tokens and the model holds ${policy.maxLength}; start a new one`;
    throw new OarlockError("CHAT_TOO_LONG", message);
  }
  const { temperature, topP, seed } = options;
  const params = { temperature, topK: 0, topP, maxNewTokens: Math.min(options.maxNewTokens, room) };
  const [completion] = await policy.complete({
    prompt: tokens,
    params,
    samples: 1,
    seed,
    group: messages.length,
    purpose: "evaluation",
  });
  return completion === undefined ? "" : safeText(policy.textOf(completion));
}

const EXAMPLES = `
Examples:
  oarlock chat hf://HuggingFaceTB/SmolLM2-135M-Instruct
  oarlock chat runs/addition --prompt "12+34="
  oarlock chat ./model --temperature 0.7 --system "Answer in one word."`;
