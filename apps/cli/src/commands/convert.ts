/** `oarlock convert SOURCE DIR`: a model in any format that is read, as a folder that everything reads. */
import { Command } from "commander";
import { OarlockError, shellWord } from "@oarlock/errors";
import { loadModel } from "@oarlock/models";
import type { CommandContext } from "../context.ts";
import { listenForInterrupt } from "../interrupt.ts";
import { loadingLine } from "../render/loading.ts";
import { isRunFolder } from "../model-argument.ts";
import { type DTypeName, dtypeOption, requireFree, writeModel } from "../model-output.ts";

interface ConvertOptions {
  readonly tokenizer?: string;
  readonly dtype: DTypeName;
}

export function convertCommand(context: CommandContext): Command {
  return new Command("convert")
    .description("Write a model as a folder in Hugging Face layout, which transformers loads too.")
    .argument("<source>", "llama2.c checkpoint (.bin), .gguf file, model folder, or hf://org/name[@revision]")
    .argument("<dir>", "folder to write, new or empty")
    .option(
      "--tokenizer <file>",
      "tokenizer to write: tokenizer.json, a folder with one, or llama2.c's .bin (default: the model's own)",
    )
    .addOption(dtypeOption())
    .addHelpText("after", EXAMPLES)
    .action(async (source: string, folder: string, options: ConvertOptions) =>
      convert(context, { source, folder, ...options }),
    );
}

interface Conversion extends ConvertOptions {
  readonly source: string;
  readonly folder: string;
}

async function convert({ terminal }: CommandContext, what: Conversion): Promise<void> {
  const { source, folder, tokenizer, dtype } = what;
  if (await isRunFolder(source)) {
    const command = `oarlock export ${shellWord(source)} ${shellWord(folder)}`;
    throw new OarlockError(
      "MODEL_SOURCE",
      `${source} is a run folder; its model is written by \`${command}\``,
    );
  }
  await requireFree(folder);
  using interrupt = listenForInterrupt(terminal, "\nstopping");
  const { signal } = interrupt;
  const onProgress = loadingLine(terminal);
  const named = tokenizer === undefined ? {} : { tokenizer };
  const model = await loadModel(source, { signal, onProgress, ...named });
  if (model.tokenizer === undefined) {
    const message = `${source} has no tokenizer beside it; name one: --tokenizer FILE (a tokenizer.json, or llama2.c's .bin)`;
    throw new OarlockError("TOKENIZER_MISSING", message);
  }
  await writeModel(folder, model, { dtype, digest: model.digest, signal, terminal });
}

const EXAMPLES = `
Examples:
  oarlock convert stories260K.bin ./stories260K --tokenizer tok512.bin
  oarlock convert SmolLM2-135M-Instruct.Q4_1.gguf ./smollm2
  oarlock convert hf://HuggingFaceTB/SmolLM2-135M-Instruct ./smollm2 --dtype bf16`;
