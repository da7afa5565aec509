import { readFileSync } from "node:fs";
import { join } from "node:path";
import { requireFile } from "@oarlock/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { characterTokenizer, createTokenizer, type TokenizerFiles } from "./index.ts";

const folder = (path: string): TokenizerFiles => ({
  tokenizer: readFileSync(join(path, "tokenizer.json"), "utf8"),
  config: readFileSync(join(path, "tokenizer_config.json"), "utf8"),
});

describe("the character tokenizer", () => {
  const files = characterTokenizer({ alphabet: "0123456789+= \n😀" });
  const tokenizer = createTokenizer(files);

  it("numbers pad, bos, eos, then the alphabet", () => {
    expect(tokenizer).toMatchObject({ vocabSize: 18, padTokenId: 0, bosTokenId: 1, eosTokenId: 2 });
    expect([...tokenizer.encode("12+3=\n😀")]).toEqual([4, 5, 13, 6, 14, 16, 17]);
    expect([...tokenizer.encode("5<eos>")]).toEqual([8, 2]);
    expect(tokenizer.decode([4, 13, 5, 14, 6, 2])).toBe("1+2=3<eos>");
    expect(tokenizer.decode([4, 13, 5, 14, 6, 2], { skipSpecialTokens: true })).toBe("1+2=3");
  });

  it("gives back every text of its alphabet, one token a character", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom("1", "9", "+", "=", " ", "\n", "😀"), { maxLength: 40 }),
        (characters) => {
          const text = characters.join("");
          const ids = tokenizer.encode(text);
          expect(ids).toHaveLength(characters.length);
          expect(tokenizer.decode(ids)).toBe(text);
        },
      ),
    );
  });

  it("takes any alphabet, brackets and quotes included", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string({ unit: "binary", minLength: 1, maxLength: 1 }), {
          minLength: 1,
          maxLength: 30,
        }),
        (alphabet) => {
          const own = createTokenizer(characterTokenizer({ alphabet: alphabet.join("") }));
          const text = alphabet.toReversed().join("");
          expect(own.encode(text)).toHaveLength(alphabet.length);
          expect(own.decode(own.encode(text))).toBe(text);
        },
      ),
      { numRuns: 40 },
    );
  });

  it("X1: refuses a character outside of its alphabet, an id outside of its vocabulary, a wrong alphabet", () => {
    expect(() => tokenizer.encode("1*2=")).toThrow(/TOKENIZER_TEXT.*"1\*2=" holds "\*"/);
    expect(() => tokenizer.decode([18])).toThrow(/TOKENIZER_ID.*18 .* vocabulary of 18/);
    expect(() => characterTokenizer({ alphabet: "aba" })).toThrow(/TOKENIZER_ALPHABET.*"a" twice/);
    expect(() => characterTokenizer({ alphabet: "" })).toThrow(/is empty/);
    expect(() => characterTokenizer({ alphabet: "a\ud800" })).toThrow(/surrogate/);
  });

  it("D1: has the digest of its files", () => {
    expect(createTokenizer(files).digest).toBe(tokenizer.digest);
    expect(createTokenizer(characterTokenizer({ alphabet: "01" })).digest).not.toBe(tokenizer.digest);
    expect(tokenizer.digest).toMatch(/^[0-9a-f]{64}$/);
    expect(tokenizer.templateDigest).toBe("");
  });

  it("has no chat template and says so", () => {
    expect(() => tokenizer.renderChat([{ role: "user", content: "1" }])).toThrow(/TOKENIZER_NO_TEMPLATE/);
  });
});

describe("chat templates", () => {
  const base = characterTokenizer({ alphabet: "abc:>" });
  const withTemplate = (template: unknown, chatTemplate?: string): TokenizerFiles => ({
    ...base,
    config: JSON.stringify({ ...(JSON.parse(base.config) as object), chat_template: template }),
    ...(chatTemplate === undefined ? {} : { chatTemplate }),
  });
  const simple =
    "{% for m in messages %}{{ m.role }}:{{ m.content }}{% endfor %}{{ '>' if add_generation_prompt }}";
  const messages = [{ role: "a", content: "bc" }];

  it("renders by the config's text, by its default entry, or by the file, which wins", () => {
    expect(createTokenizer(withTemplate(simple)).renderChat(messages)).toBe("a:bc>");
    const list = [
      { name: "tool_use", template: "x" },
      { name: "default", template: simple },
    ];
    expect(createTokenizer(withTemplate(list)).renderChat(messages, { addGenerationPrompt: false })).toBe(
      "a:bc",
    );
    expect(createTokenizer(withTemplate("x", simple)).renderChat(messages)).toBe("a:bc>");
    expect([...createTokenizer(withTemplate(simple)).encodeChat(messages)]).toEqual([3, 6, 4, 5, 7]);
  });

  it("X1: takes an empty template for none, and refuses one that renders nothing", () => {
    const render = (template: string, file?: string) => () =>
      createTokenizer(withTemplate(template, file)).renderChat(messages);
    expect(render(" \n")).toThrow(/TOKENIZER_NO_TEMPLATE/);
    expect(render(simple, "")).toThrow(/TOKENIZER_NO_TEMPLATE/);
    expect(render("{# later #}")).toThrow(/TOKENIZER_TEMPLATE.*renders them as nothing/);
  });

  it("passes special tokens, tools and variables", () => {
    const template = "{{ bos_token }}{{ tools[0].name }}{{ mood }}";
    const options = { tools: [{ name: "t" }], variables: { mood: "m" } };
    expect(createTokenizer(withTemplate(template)).renderChat([], options)).toBe("<bos>tm");
  });

  it.each([
    ["ends with its content", "{{ m.content }}", " c ", "u:a|x: c "],
    ["is trimmed where the template trims", "{{ m.content | trim }}", " c ", "u:a|x:c"],
    ["may be empty", "{{ m.content }}", "", "u:a|x:"],
  ])("continues a last message: %s", (_, content, said, text) => {
    const template = `{% for m in messages %}{{ m.role }}:${content}|{% endfor %}{{ '>' if add_generation_prompt }}`;
    const turns = [
      { role: "u", content: "a" },
      { role: "x", content: said },
    ];
    const options = { continueFinalMessage: true };
    const chat = createTokenizer(withTemplate(template));
    expect(chat.renderChat(turns, options)).toBe(text);
    const cut = createTokenizer(withTemplate(template.replace(content, "{{ m.content.split(' ')[0] }}")));
    expect(() => cut.renderChat([{ role: "x", content: "b c" }], options)).toThrow(
      /TOKENIZER_TEMPLATE.*leaves parts of the last message out.*"b c"; accepted/,
    );
    expect(() => chat.renderChat([], options)).toThrow(/TOKENIZER_TEMPLATE.*no message to continue/);
  });

  it("gives what transformers gives: none for tools and documents that are not there, and all special tokens", () => {
    const template =
      "{% if tools is not none %}tools{% endif %}{% if documents is not none %}documents{% endif %}" +
      "{{ tools is defined }} {{ documents is defined }}";
    expect(createTokenizer(withTemplate(template)).renderChat([])).toBe("true true");
    const { tokenizer, config } = withTemplate("{{ sep_token }}{{ cls_token }}{{ mask_token }}");
    const specials = { sep_token: "<sep>", cls_token: { content: "<cls>" }, mask_token: "<mask>" };
    const named = JSON.stringify({ ...(JSON.parse(config) as object), ...specials });
    expect(createTokenizer({ tokenizer, config: named }).renderChat([])).toBe("<sep><cls><mask>");
  });

  it("has Jinja's numbers, and no endless ones", () => {
    const ranging = createTokenizer(
      withTemplate("{% for i in range(1, 6, 2) %}{{ i }}{% endfor %}{{ range(2) | length }}"),
    );
    expect(ranging.renderChat([])).toBe("1352");
    expect(() => createTokenizer(withTemplate("{{ range(999999999) }}")).renderChat([])).toThrow(
      /at most 100000/,
    );
    const nested = "{% for i in range(50000) %}{% for j in range(50000) %}x{% endfor %}{% endfor %}";
    expect(() => createTokenizer(withTemplate(nested)).renderChat([])).toThrow(/at most 100000/);
  });

  it("D1: hides the clock from templates", () => {
    const template = "{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% else %}none{% endif %}";
    expect(createTokenizer(withTemplate(template)).renderChat([])).toBe("none");
  });

  it("X1: reports what a template raises, and what is no template", () => {
    const raising = createTokenizer(withTemplate("{{ raise_exception('roles must alternate') }}"));
    expect(() => raising.renderChat([])).toThrow(/TOKENIZER_TEMPLATE.*roles must alternate/);
    expect(() => createTokenizer(withTemplate("{% for %}"))).toThrow(/TOKENIZER_TEMPLATE.*is no Jinja/);
  });
});

describe("wrong files", () => {
  it.each([
    ["{", /TOKENIZER_FILE.*tokenizer\.json is no JSON/],
    ["[]", /no JSON object/],
    ["{}", /no model\.vocab/],
    ['{"model":{"type":"Nonsense","vocab":{}}}', /TOKENIZER_FILE.*cannot be used/],
  ])("X1: refuses %s", (tokenizer, message) => {
    expect(() => createTokenizer({ tokenizer, config: "{}" })).toThrow(message);
  });
});

const stories = requireFile("models", "../shared/models/stories260K/hf");
describe.skipIf(stories.absent)(`stories260K${stories.note}`, () => {
  it("has the published ids, spells unknown characters in bytes, and reads itself back", () => {
    const tokenizer = createTokenizer(folder(stories.path));
    expect([...tokenizer.encode("Once upon a time")]).toEqual([1, 403, 407, 261, 378]);
    expect(tokenizer).toMatchObject({ vocabSize: 512, bosTokenId: 1, eosTokenId: 2, padTokenId: 0 });
    const text = "Once upon a time, é😀 \n x";
    expect(tokenizer.decode(tokenizer.encode(text), { skipSpecialTokens: true })).toBe(text);
  });
});

describe("a text that continues another", () => {
  const { tokenizer, config } = characterTokenizer({ alphabet: "ab▁ " });
  const withSteps = (steps: object) =>
    createTokenizer({
      tokenizer: JSON.stringify({ ...(JSON.parse(tokenizer) as object), ...steps }),
      config,
    });
  const split = { type: "Split", pattern: { Regex: "[\\s\\S]" }, behavior: "Isolated", invert: false };
  const ids = (text: string) => Array.from(text, (character) => 3 + "ab▁ ".indexOf(character));

  it.each([
    ["Prepend", { normalizer: { type: "Prepend", prepend: "▁" } }],
    [
      "Prepend in a sequence",
      { normalizer: { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }] } },
    ],
    [
      "Metaspace",
      {
        pre_tokenizer: {
          type: "Sequence",
          pretokenizers: [{ type: "Metaspace", prepend_scheme: "first" }, split],
        },
      },
    ],
  ])("gets no space in front of it by %s", (_, steps) => {
    const spaced = withSteps(steps);
    expect([...spaced.encode("ab")]).toEqual(ids("▁ab"));
    expect([...spaced.encode("ab", { continues: true })]).toEqual(ids("ab"));
    expect([...spaced.encode("ab")]).toEqual(ids("▁ab"));
  });

  it("is encoded as any other where nothing is put in front", () => {
    const plain = withSteps({});
    expect([...plain.encode(" a", { continues: true })]).toEqual([...plain.encode(" a")]);
  });
});

const text = requireFile("data", "../shared/data/text/tinystories_niklas6.txt");
describe.skipIf(stories.absent || text.absent)(`story text${stories.note}${text.note}`, () => {
  it("makes 19,289 tokens, bos included, of the first 40,000 characters", () => {
    const story = readFileSync(text.path, "utf8").slice(0, 40_000);
    expect(createTokenizer(folder(stories.path)).encode(story)).toHaveLength(19_289);
  });
});

interface Golden {
  readonly cases: readonly {
    readonly question: string;
    readonly rendered: string;
    readonly prompt_ids: readonly number[];
    readonly completion_ids: readonly number[];
    readonly completion: string;
  }[];
}
const smol = requireFile("models", "../shared/models/smollm2-135m-instruct");
describe.skipIf(smol.absent)(`SmolLM2-135M-Instruct${smol.note}`, () => {
  it("renders and encodes its golden prompts exactly", () => {
    const read = (name: string): string => readFileSync(join(smol.path, name), "utf8");
    const tokenizer = createTokenizer({ ...folder(smol.path), chatTemplate: read("chat_template.jinja") });
    const { cases } = JSON.parse(read("golden.json")) as Golden;
    expect(cases.length).toBeGreaterThan(2);
    for (const golden of cases) {
      const messages = [{ role: "user", content: golden.question }];
      expect(tokenizer.renderChat(messages)).toBe(golden.rendered);
      expect([...tokenizer.encodeChat(messages)]).toEqual(golden.prompt_ids);
      expect(tokenizer.decode(golden.completion_ids)).toBe(golden.completion);
    }
    expect(tokenizer).toMatchObject({ vocabSize: 49_152, eosTokenId: 2 });
    expect(tokenizer.templateDigest).toMatch(/^[0-9a-f]{64}$/);
  });
});
