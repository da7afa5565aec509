/** A value as a YAML document, as commands print it. */
import { stringify } from "yaml";

/** Lines are not folded: a sentence stays one line. */
export function yamlText(value: object): string {
  return stringify(value, { lineWidth: 0 }).trimEnd();
}
