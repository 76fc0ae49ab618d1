// What tests/browser/test_language_model.py asks of rlhf_lab/widgets/static/language-model.
// It is served in a folder beside `_static` and `models`, as a page of the book is.
import { LanguageModels } from "./_static/language-model/client.js";
import { GPT2 } from "./_static/language-model/gpt2.js";
import { ACTIVATIONS, erf } from "./_static/language-model/layers.js";
import { addDifference } from "./_static/language-model/difference.js";
import { loadDifference, loadModel } from "./_static/language-model/loader.js";
import { readSafetensors } from "./_static/language-model/safetensors.js";
import { choose, MersenneTwister } from "./_static/language-model/sampler.js";
import { splitWords, Tokenizer } from "./_static/language-model/tokenizer.js";

const address = (name) => new URL(`models/${name}/`, document.baseURI).href;
const fetchJson = async (url) => (await fetch(url)).json();
const clients = new LanguageModels();

/** A model, or with a base the one whose files are the difference from that. */
const fetchModel = (name, base) =>
  base ? loadDifference(address(name), loadModel(address(base))) : loadModel(address(name));

/** The error's code and message, or the value. */
const outcome = (promise) =>
  promise.then(
    (value) => ({ value }),
    (error) => ({ error: error.name, code: error.code, message: error.message }),
  );

window.probe = {
  /** Logits at every position: in one pass, and by single steps behind a first half. */
  async logits(name, tokens, base) {
    const { model } = await fetchModel(name, base);
    const whole = model.logits(model.hidden(tokens, model.newCache()));
    const cache = model.newCache(tokens.length);
    const half = Math.floor(tokens.length / 2);
    const steps = Array.from(model.logits(model.hidden(tokens.slice(0, half), cache)));
    for (const token of tokens.slice(half)) steps.push(...model.logits(model.hidden([token], cache)));
    return { whole: Array.from(whole), steps };
  },

  async tokenize(name, texts) {
    const { tokenizer } = await loadModel(address(name));
    return texts.map((text) => {
      const ids = tokenizer.encode(text);
      const back = tokenizer.decode(ids, { skipSpecialTokens: false });
      return { ids, text: tokenizer.decode(ids), exact: back === text };
    });
  },

  async pieces(name) {
    const { model, tokenizer } = await loadModel(address(name));
    return Array.from({ length: model.config.vocab_size }, (_, id) => tokenizer.piece(id));
  },

  decode: async (name, ids) => (await loadModel(address(name))).tokenizer.decode(ids),

  words: (texts) => texts.map(splitWords),

  async tokenizer(name, change) {
    const json = await fetchJson(`${address(name)}tokenizer.json`);
    Object.assign(json, change);
    return outcome((async () => new Tokenizer(json).size)());
  },

  read: (bytes) =>
    outcome(
      (async () => {
        const tensors = readSafetensors(Uint8Array.from(bytes).buffer);
        return [...tensors].map(([name, { shape, data }]) => [name, shape, Array.from(data)]);
      })(),
    ),

  /** base + difference, of tensors that are given as [name, shape, numbers]. */
  add: (...given) =>
    outcome(
      (async () => {
        const [base, difference] = given.map(
          (tensors) =>
            new Map(tensors.map(([name, shape, data]) => [name, { shape, data: Float32Array.from(data) }])),
        );
        return [...addDifference(base, difference)].map(([name, { data }]) => [name, Array.from(data)]);
      })(),
    ),

  build: (config) => outcome((async () => new GPT2(config, new Map()).parameters)()),
  erf: (values) => values.map(erf),
  activation: (name, values) => values.map(ACTIVATIONS.get(name)),
  choose: (logits, uniforms, temperature) =>
    uniforms.map((uniform) => choose(Float32Array.from(logits), uniform, temperature)),

  uniforms(seed, count) {
    const generator = new MersenneTwister(seed);
    return Array.from({ length: count }, () => generator.uniform());
  },

  async load(name, base) {
    const progress = [];
    const onProgress = (...bytes) => progress.push(bytes);
    const options = { base: base ?? undefined, onProgress };
    return { progress, ...(await outcome(clients.load(name, address(name), options))) };
  },

  /** Asks for all at once, the base first; how each request ended, in their order. */
  loadTogether: (base, ...names) => {
    const models = new LanguageModels();
    const loads = [base, ...names].map((name) =>
      outcome(models.load(name, address(name), name === base ? {} : { base })),
    );
    return Promise.all(loads).finally(() => models.close());
  },

  compare: (...given) => outcome(clients.compare(...given)),

  async generate(name, prompt, options = {}) {
    const streamed = [];
    const onToken = (token) => streamed.push(token);
    return { streamed, ...(await outcome(clients.generate(name, prompt, { ...options, onToken }))) };
  },

  async generateAll(name, prompts, options) {
    const answers = [];
    for (const [i, prompt] of prompts.entries()) {
      answers.push(await clients.generate(name, prompt, { seed: i, ...options }));
    }
    return answers;
  },

  /** Names of the models in the order in which their tokens came. */
  async together(names, prompt, options) {
    const order = [];
    const ask = (name) =>
      clients.generate(name, prompt, { ...options, onToken: () => order.push(name) });
    await Promise.all(names.map(ask));
    return order;
  },

  /** Stops an answer at its third token. */
  async cancel(name, prompt) {
    const controller = new AbortController();
    const { signal } = controller;
    let tokens = 0;
    const onToken = () => {
      tokens += 1;
      if (tokens === 3) controller.abort();
    };
    const options = { maxNewTokens: 1000, temperature: 1, signal, onToken };
    const result = await outcome(clients.generate(name, prompt, options));
    const early = AbortSignal.abort();
    const never = await outcome(clients.generate(name, prompt, { signal: early }));
    return { tokens, result, never };
  },

  cancelLoad: (name) =>
    outcome(new LanguageModels().load(name, address(name), { signal: AbortSignal.abort() })),

  /** What the worker itself says after "cancel": messages of that request, in order. */
  async cancelledMessages(name, prompt) {
    const url = new URL("_static/language-model/worker.js", document.baseURI);
    const worker = new Worker(url, { type: "module" });
    const seen = [];
    const until = (test) =>
      new Promise((resolve) => {
        worker.onmessage = ({ data }) => {
          seen.push(data);
          if (test(data)) resolve();
        };
      });
    worker.postMessage({ type: "load", id: 1, name, url: address(name) });
    await until(({ type }) => type === "result");
    seen.length = 0;
    const options = { maxNewTokens: 1000, temperature: 1, seed: 0 };
    worker.postMessage({ type: "generate", id: 2, name, prompt, ...options });
    await until(({ type }) => type === "token");
    worker.postMessage({ type: "cancel", id: 2 });
    await until(({ type }) => type !== "token");
    worker.postMessage({ type: "generate", id: 3, name, prompt, ...options, maxNewTokens: 50 });
    await until(({ id, type }) => id === 3 && type === "result");
    worker.terminate();
    return seen.map(({ type, id, code }) => ({ type, id, code }));
  },

  async close(name) {
    const models = new LanguageModels();
    await models.load(name, address(name));
    const answer = outcome(models.generate(name, "a", { maxNewTokens: 50, temperature: 1 }));
    models.close();
    const again = await outcome(models.load(name, address(name)));
    models.close();
    return { answer: await answer, again };
  },
};
