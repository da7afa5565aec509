/**
 * Whether a path is one that a pattern of a card names: `*` and `?` stay in a folder, `**` does not, `[abc]`, `[a-z]` and `[!a-z]` are
 * one character. In time that grows with the product of both lengths: patterns are texts of others.
 */
export function matchesPattern(path: string, pattern: string): boolean {
  return isMatch(path.split("/"), pattern.split("/"), {
    isMany: (part) => part === "**",
    isOne: (name, part) => isMatch(Array.from(name), pieces(part), CHARACTERS),
  });
}

interface Rules {
  /** Whether it stands for any number of them. */
  readonly isMany: (wanted: string) => boolean;
  readonly isOne: (given: string, wanted: string) => boolean;
}

const CHARACTERS: Rules = {
  isMany: (piece) => /^\*+$/.test(piece),
  isOne: (character, piece) =>
    piece === "?" || piece === character || (piece.length > 1 && isInClass(character, piece)),
};

/** `*`, `**`, `?`, classes and characters. */
const pieces = (part: string): string[] => part.match(/\*+|\[[^\]]+\]|[^]/gu) ?? [];

/** The last piece that stands for many is tried again, one further: an earlier one can give nothing that it could not. */
function isMatch(given: readonly string[], wanted: readonly string[], { isMany, isOne }: Rules): boolean {
  let [at, next] = [0, 0];
  let again: { readonly next: number; at: number } | undefined;
  while (at < given.length) {
    const piece = wanted[next];
    if (piece !== undefined && isMany(piece)) {
      again = { next: ++next, at };
    } else if (piece !== undefined && isOne(given[at] ?? "", piece)) {
      at++;
      next++;
    } else if (again !== undefined) {
      at = ++again.at;
      ({ next } = again);
    } else return false;
  }
  return wanted.slice(next).every(isMany);
}

function isInClass(character: string, piece: string): boolean {
  const [, not = "", listed = ""] = /^\[([!^]?)([^]*)\]$/u.exec(piece) ?? [];
  const characters = Array.from(listed);
  const isIn = characters.some((from, i) => {
    if (characters[i + 1] === "-" && i + 2 < characters.length)
      return from <= character && character <= (characters[i + 2] ?? "");
    return from === character;
  });
  return isIn === (not === "");
}
