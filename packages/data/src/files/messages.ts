/** Conversations in the forms that data sets have: {role, content} (OpenAI, TRL, verl) and {from, value} (ShareGPT). */
import { isJsonObject } from "../json-object.ts";
import type { ChatMessage } from "../row.ts";

const shareGptRoles: Readonly<Record<string, string>> = { human: "user", gpt: "assistant" };

/** Text, or parts of which each is text. */
function contentText(content: unknown): string | undefined {
  if (!Array.isArray(content)) return typeof content === "string" ? content : undefined;
  const texts = content.map((part: unknown) =>
    isJsonObject(part) && part["type"] === "text" && typeof part["text"] === "string"
      ? part["text"]
      : undefined,
  );
  return texts.includes(undefined) ? undefined : texts.join("");
}

function toMessage(value: unknown): ChatMessage | undefined {
  if (!isJsonObject(value)) return undefined;
  const content = contentText(value["content"]);
  if (typeof value["role"] === "string" && content !== undefined) {
    return { ...value, role: value["role"], content };
  }
  if (typeof value["from"] === "string" && typeof value["value"] === "string") {
    return { role: shareGptRoles[value["from"]] ?? value["from"], content: value["value"] };
  }
  return undefined;
}

/** The value as a conversation (a single message is one of length 1), or undefined where it is none. */
export function toMessages(value: unknown): readonly ChatMessage[] | undefined {
  const list = Array.isArray(value) ? value : [value];
  const messages = list.map(toMessage);
  const complete = messages.filter((message) => message !== undefined);
  return list.length > 0 && complete.length === list.length ? complete : undefined;
}

/** A conversation split before the assistant's turn that ends it; one that ends with another's waits for a reply: all of it is prompt. */
export function splitLastReply(messages: readonly ChatMessage[]): {
  prompt: readonly ChatMessage[];
  reply: readonly ChatMessage[];
} {
  const at = messages.at(-1)?.role === "assistant" ? messages.length - 1 : messages.length;
  return { prompt: messages.slice(0, at), reply: messages.slice(at) };
}
