/**
 * Plain scalars that YAML 1.1 and YAML 1.2 read as different values: refused, so that the command line, kubectl and
 * every other reader of one run file see the same run. Knows scalars only, not where they stand.
 */

interface AmbiguousForm {
  readonly pattern: RegExp;
  /** How the two versions read it. */
  readonly readings: string;
  /** Other unambiguous spellings than the quoted one. */
  readonly instead: (source: string) => string | undefined;
}

const TRUE_WORDS = /^(y|yes|on)$/i;

const FORMS: readonly AmbiguousForm[] = [
  {
    pattern: /^(y|Y|yes|Yes|YES|n|N|no|No|NO|on|On|ON|off|Off|OFF)$/,
    readings: "a truth value in YAML 1.1 and text in YAML 1.2",
    instead: (source) => (TRUE_WORDS.test(source) ? "true" : "false"),
  },
  {
    pattern: /^[-+]?0[0-9_]+$/,
    readings: "an octal number in YAML 1.1 and a decimal one in YAML 1.2",
    instead: (source) => String(Number(source.replaceAll("_", ""))),
  },
  {
    pattern: /^[-+]?0o[0-7]+$/,
    readings: "text in YAML 1.1 and an octal number in YAML 1.2",
    instead: (source) => String(Number.parseInt(source.replace("0o", ""), 8)),
  },
  {
    pattern: /^[-+]?0b[01_]+$/,
    readings: "a binary number in YAML 1.1 and text in YAML 1.2",
    instead: () => undefined,
  },
  {
    pattern: /^[-+]?(\d[\d_]*_[\d_]*(\.[\d_]*)?|\d[\d_]*\.[\d_]*_[\d_]*)([eE][-+]?\d+)?$/,
    readings: "a number in YAML 1.1 and text in YAML 1.2",
    instead: (source) => source.replaceAll("_", ""),
  },
  {
    pattern: /^[-+]?\d[\d_]*(:[0-5]?\d)+(\.[\d_]*)?$/,
    readings: "a base-60 number in YAML 1.1 and text in YAML 1.2",
    instead: () => undefined,
  },
  {
    pattern: /^\d{4}-\d\d?-\d\d?([Tt ].*)?$/,
    readings: "a time in YAML 1.1 and text in YAML 1.2",
    instead: () => undefined,
  },
];

export interface Ambiguity {
  readonly readings: string;
  /** The spellings that every reader reads alike. */
  readonly accepted: string;
}

/** Whether a plain (unquoted) scalar means different things to different readers. */
export function ambiguityOf(source: string): Ambiguity | undefined {
  const form = FORMS.find(({ pattern }) => pattern.test(source));
  if (form === undefined) return undefined;
  const other = form.instead(source);
  return { readings: form.readings, accepted: `"${source}"${other === undefined ? "" : ` or ${other}`}` };
}
