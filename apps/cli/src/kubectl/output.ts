/** `-o` of the plugin's commands: kubectl's words for the form of what is printed. A command that has none of a form refuses it. */
import { Option } from "commander";
import { OarlockError } from "@oarlock/errors";
import { yamlText } from "@oarlock/runfile";
import type { Cluster } from "./cluster.ts";

const FORMS = ["json", "yaml", "wide", "name"] as const;
export type Form = (typeof FORMS)[number];

export interface OutputOptions {
  readonly output?: Form;
}

/** The option, as every command with a result has it. */
export function outputOption(): Option {
  return new Option("-o, --output <form>", "form of what is printed").choices(FORMS);
}

/** Forms of a result that is no object of the cluster; those that are left out make no sense of it. */
export type Forms<T extends object> = Partial<Readonly<Record<Form, (result: T) => string>>>;

/** What nearly every result can be printed as. */
export const DATA: Forms<object> = {
  json: (result) => JSON.stringify(result, undefined, 2),
  yaml: yamlText,
};

/** Prints a result in a form; known before anything is done. @throws OarlockError `OUTPUT_UNKNOWN`. */
export function formOf<T extends object>(
  command: string,
  { output }: OutputOptions,
  { plain, forms }: { readonly plain: (result: T) => string; readonly forms: Forms<T> },
): (result: T) => string {
  if (output === undefined) return plain;
  const chosen = forms[output];
  if (chosen !== undefined) return chosen;
  const accepted = FORMS.filter((form) => forms[form] !== undefined).join(", ");
  throw new OarlockError("OUTPUT_UNKNOWN", `${command} has no form '${output}'; accepted: ${accepted}`);
}

/** A run, as kubectl prints it. */
export async function runText(cluster: Cluster, name: string, form: Form): Promise<string> {
  return (await cluster.kubectlOutput(["get", "trun", name, "-o", form])).trimEnd();
}
