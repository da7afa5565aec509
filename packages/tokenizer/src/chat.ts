/**
 * Chat messages to one text, by the model's own Jinja template. Rendering depends on its arguments alone: templates get
 * no clock (`strftime_now`), so that one that prints today's date cannot change a run from one day to the next (D1).
 */
import { Environment, Interpreter, parse, tokenize } from "@huggingface/jinja";
import { OarlockError, plainMessage } from "@oarlock/errors";
import { isObject, type JsonObject } from "./files.ts";

/** One turn. Further fields (tool calls, names) reach the template as they are. */
export interface ChatMessage {
  /** Usually "system", "user", "assistant" or "tool". */
  readonly role: string;
  readonly content: string;
}

export interface RenderOptions {
  /** Ends with the opening of an assistant turn. Default true, unless the last message is continued. */
  readonly addGenerationPrompt?: boolean;
  /** Ends with the content of the last message, without what the template puts behind it. Default false. */
  readonly continueFinalMessage?: boolean;
  /** JSON schemas of tools, for templates that know them. */
  readonly tools?: readonly JsonObject[];
  /** Further variables of the template, e.g. `{ enable_thinking: false }`. */
  readonly variables?: JsonObject;
}

/** A compiled template. */
export interface ChatRenderer {
  render(messages: readonly ChatMessage[], options?: RenderOptions): string;
}

/** Tells where the last message ends; of transformers, so that a template which knows it treats it alike. */
const END_OF_MESSAGE = "CONTINUE_FINAL_MESSAGE_TAG ";

const MAX_TEMPLATE_CHARACTERS = 1024 * 1024;

/** Numbers that the ranges of one rendering have together: loops within loops end too. */
const MAX_RANGE = 100_000;

/** What templates may call and name, in Jinja's spelling and in Python's. */
const builtins = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
  // What is not given is none in transformers, and templates tell that from undefined.
  tools: null,
  documents: null,
  raise_exception(message: unknown): never {
    throw new OarlockError("TOKENIZER_TEMPLATE", String(message));
  },
};

function createRange(): (start: number, stop?: number, step?: number) => number[] {
  let total = 0;
  return (start, stop, step = 1) => {
    const [from, to] = stop === undefined ? [0, start] : [start, stop];
    const count = Math.max(0, Math.ceil((to - from) / step));
    total += count;
    if (!(total <= MAX_RANGE)) {
      throw new OarlockError("TOKENIZER_TEMPLATE", `ranges of ${total} numbers; at most ${MAX_RANGE}`);
    }
    return Array.from({ length: count }, (_, i) => from + i * step);
  };
}

/** Compiles a template. Throws `TOKENIZER_TEMPLATE` where it is no Jinja, or (at `render`) where it raises an exception. */
export function createChatRenderer(
  template: string,
  specials: Readonly<Record<string, string>>,
): ChatRenderer {
  if (template.length > MAX_TEMPLATE_CHARACTERS) {
    throw new OarlockError(
      "TOKENIZER_TEMPLATE",
      `the chat template has ${template.length} characters; at most ${MAX_TEMPLATE_CHARACTERS} are read`,
    );
  }
  const refusing = <T>(what: string, work: () => T): T => {
    try {
      return work();
    } catch (cause) {
      const message = `the chat template ${what}: ${plainMessage(cause)}`;
      throw new OarlockError("TOKENIZER_TEMPLATE", message, { cause });
    }
  };
  // The block options are those with which transformers compiles chat templates.
  const program = refusing("is no Jinja", () =>
    parse(tokenize(template, { lstrip_blocks: true, trim_blocks: true })),
  );
  const renderWhole: ChatRenderer["render"] = (messages, options = {}) => {
    const { addGenerationPrompt = true, tools, variables } = options;
    const context = {
      ...builtins,
      range: createRange(),
      ...specials,
      ...variables,
      messages,
      add_generation_prompt: addGenerationPrompt,
      ...(tools === undefined ? {} : { tools }),
    };
    return refusing("refuses these messages", () => {
      const environment = new Environment();
      for (const [name, value] of Object.entries(context)) environment.set(name, value);
      const text = String(new Interpreter(environment).run(program).value);
      if (text.trim() !== "" || messages.length === 0) return text;
      throw new OarlockError("TOKENIZER_TEMPLATE", "it renders them as nothing");
    });
  };
  return {
    render: (messages, options = {}) =>
      options.continueFinalMessage === true
        ? renderOpen(messages, options, renderWhole)
        : renderWhole(messages, options),
  };
}

/** The text up to the end of the last message, which a mark tells: what the template puts behind it is cut off. */
function renderOpen(
  messages: readonly ChatMessage[],
  options: RenderOptions,
  render: ChatRenderer["render"],
): string {
  const last = messages.at(-1);
  if (last === undefined) throw new OarlockError("TOKENIZER_TEMPLATE", "there is no message to continue");
  const marked = [...messages.slice(0, -1), { ...last, content: `${last.content}${END_OF_MESSAGE}` }];
  const text = render(marked, { addGenerationPrompt: false, ...options });
  const end = text.lastIndexOf(END_OF_MESSAGE.trim());
  if (end < 0 || !text.slice(0, end).includes(last.content.trim())) {
    throw new OarlockError(
      "TOKENIZER_TEMPLATE",
      `the chat template leaves parts of the last message out, which is to be continued: ${JSON.stringify(last.content)}; ` +
        "accepted: a conversation that ends with a turn of the user",
    );
  }
  // A template that trims contents would have trimmed this one.
  const isKept = text.startsWith(END_OF_MESSAGE, end);
  return isKept ? text.slice(0, end) : text.slice(0, end).trimEnd();
}

/**
 * The template of a model folder: the file `chat_template.jinja`, else `chat_template` of the config (a text, or a list
 * of named ones of which "default" is taken). `undefined` where there is none, or an empty one.
 */
export function findChatTemplate(config: JsonObject, file?: string): string | undefined {
  const template = statedTemplate(config, file);
  return template?.trim() === "" ? undefined : template;
}

function statedTemplate(config: JsonObject, file?: string): string | undefined {
  if (file !== undefined) return file;
  const stated = config["chat_template"];
  if (typeof stated === "string") return stated;
  if (!Array.isArray(stated)) return undefined;
  const named: unknown[] = stated;
  const chosen = named.find((entry) => isObject(entry) && entry["name"] === "default") ?? named[0];
  const template = isObject(chosen) ? chosen["template"] : undefined;
  return typeof template === "string" ? template : undefined;
}
