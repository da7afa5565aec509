/** The command line's wiring: which commands there are, and what a failure means for the exit code. */
import { Command, CommanderError } from "commander";
import { isOarlockError } from "@oarlock/errors";
import { chatCommand } from "./commands/chat.ts";
import { convertCommand } from "./commands/convert.ts";
import { evalCommand } from "./commands/eval.ts";
import { exportCommand } from "./commands/export.ts";
import { planCommand } from "./commands/plan.ts";
import { replaceScorerCommand } from "./commands/replace-scorer.ts";
import { reproduceCommand } from "./commands/reproduce.ts";
import { resumeCommand } from "./commands/resume.ts";
import { runCommand, upCommand } from "./commands/run.ts";
import { samplesCommand } from "./commands/samples.ts";
import { servePlanCommand } from "./commands/serve-plan.ts";
import { statusCommand } from "./commands/status.ts";
import { validateCommand } from "./commands/validate.ts";
import type { CommandContext } from "./context.ts";
import { EXIT, EXIT_CODES_HELP, type ExitCode } from "./exit-codes.ts";
import { oarlockVersion } from "./version.ts";
import { isInterruption } from "./interrupt.ts";
import { bugReport } from "./render/bug.ts";
import { reasonsOf } from "./render/reasons.ts";
import { processTerminal, type Terminal } from "./terminal.ts";

/** In the order of a user's day. */
const COMMANDS: readonly ((context: CommandContext) => Command)[] = [
  validateCommand,
  planCommand,
  runCommand,
  upCommand,
  resumeCommand,
  statusCommand,
  replaceScorerCommand,
  samplesCommand,
  evalCommand,
  chatCommand,
  exportCommand,
  convertCommand,
  reproduceCommand,
];

/** Commands whose results lie in a run folder: that they could not be told as well is no failure. */
const RUNS: ReadonlySet<string> = new Set(["run", "up", "resume", "reproduce"]);

/** Runs the command line and returns its exit code. `argv` as in `process.argv`. */
export async function main(
  argv: readonly string[],
  terminal: Terminal = processTerminal(),
): Promise<ExitCode> {
  let code: ExitCode = EXIT.ok;
  const exit = (chosen: ExitCode) => {
    code = chosen;
  };
  const context: CommandContext = { terminal, now: Date.now, exit };
  const program = createProgram(context);
  try {
    await program.parseAsync(argv);
  } catch (reason) {
    code = explain(reason, terminal);
  }
  const told = (await terminal.settled()) || RUNS.has(program.args[0] ?? "");
  return told || code !== EXIT.ok ? code : EXIT.failed;
}

function createProgram(context: CommandContext): Command {
  const { terminal } = context;
  const trimmed = (write: (text: string) => void) => (text: string) => write(text.replace(/\n$/, ""));
  const program = new Command("oarlock")
    .description(
      "Reinforcement-learning post-training of language models: supervised stages, reward models, GRPO and PPO from one run file.",
    )
    .version(oarlockVersion())
    .addHelpText("after", EXIT_CODES_HELP);
  for (const create of COMMANDS) program.addCommand(create(context));
  program.addCommand(servePlanCommand(context), { hidden: true });
  for (const command of [program, ...program.commands]) {
    command
      .exitOverride()
      .configureOutput({ writeOut: trimmed(terminal.print), writeErr: trimmed(terminal.note) })
      .showHelpAfterError(`${pathOf(command)} --help shows what is accepted`)
      .showSuggestionAfterError(true);
  }
  return program;
}

const pathOf = (command: Command): string =>
  command.parent === null ? command.name() : `${command.parent.name()} ${command.name()}`;

/** Says what went wrong and picks the exit code. */
function explain(reason: unknown, { note, style }: Terminal): ExitCode {
  if (reason instanceof CommanderError) return reason.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (isInterruption(reason)) return EXIT.interrupted;
  const [first = "", ...causes] = reasonsOf(reason);
  note(`${style.bad("error")} ${first}${causes.map((cause) => `\n  because: ${cause}`).join("")}`);
  // A bundle may be on its way, and a hub, a disk or a server that fails now may work later.
  if (isOarlockError(reason))
    return reason.retryable || reason.code === "BUNDLE_MISSING" ? EXIT.notYet : EXIT.refused;
  if (!isSystemError(reason)) note(style.dim(bugReport(reason)));
  return EXIT.failed;
}

/** A call to the operating system that failed: a full disk, a folder that may not be written. */
const isSystemError = (reason: unknown): boolean => reason instanceof Error && "syscall" in reason;
