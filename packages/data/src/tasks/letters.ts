/** Tasks on short texts of lower-case letters: write it backwards, write it again, put it in order, count one letter. */
import { type NumberStream, numberStream } from "./mixing.ts";
import type { Task, TaskExample } from "./task.ts";

const LETTERS = "abcdefghijklmnopqrstuvwxyz";

const word = (numbers: NumberStream, length: number): string =>
  Array.from({ length }, () => LETTERS[numbers.below(LETTERS.length)]).join("");

/** A task that is a function of one random word of `digits` letters. */
function wordTask(name: string, sign: string, solve: (text: string) => string): Task {
  return {
    maxDigits: 32,
    alphabet: `${LETTERS}${sign}`,
    *examples(digits) {
      const numbers = numberStream(`${name}/${digits}`);
      for (;;) {
        const text = word(numbers, digits);
        yield { prompt: `${text}${sign}`, answer: solve(text), key: text, fields: { text } };
      }
    },
  };
}

/** "abc<" → "cba". */
export const reverseText: Task = wordTask("reverse-text", "<", (text) => text.split("").reverse().join(""));
/** "abc=" → "abc". */
export const copyText: Task = wordTask("copy-text", "=", (text) => text);
/** "cab>" → "abc". */
export const sortLetters: Task = wordTask("sort-letters", ">", (text) => text.split("").sort().join(""));

/** "a:banana=" → "3", with words of `digits` letters out of the first four of the alphabet, so that counts vary. */
export const countLetter: Task = {
  maxDigits: 32,
  alphabet: "abcd0123456789:=",
  *examples(digits) {
    const numbers = numberStream(`count-letter/${digits}`);
    for (;;) {
      const text = Array.from({ length: digits }, () => LETTERS[numbers.below(4)]).join("");
      const letter = LETTERS[numbers.below(4)] ?? "a";
      const answer = String(text.split(letter).length - 1);
      const found: TaskExample = {
        prompt: `${letter}:${text}=`,
        answer,
        key: text,
        fields: { text, letter },
      };
      yield found;
    }
  },
};
