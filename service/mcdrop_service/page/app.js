// The page: which model, its input, its answer. Everything else is a part that knows nothing of it.

import * as api from "./api.js";
import { fresh, h } from "./dom.js";
import { percent } from "./format.js";
import { createGlance } from "./glance.js";
import { createInput } from "./input.js";
import { latest, settled } from "./latest.js";
import { createOptions } from "./options.js";
import { sizeOf } from "./picture.js";
import { createRequest } from "./request.js";
import { createView } from "./view.js";

const REST = 350; // milliseconds without a change, after which the charts that take many passes follow

const main = document.querySelector("#main");
const spoken = document.querySelector("#spoken");
const fault = document.querySelector("#fault");
const keyForm = document.querySelector("#key");

const say = (text) => { spoken.textContent = text; };

/** Run `task`, and say whether it was done; where not, why, and ask for a key that is wanted. */
async function attempt(task) {
  try {
    await task();
    fault.hidden = true;
    return true;
  } catch (error) {
    if (error.name === "AbortError") return false;
    const wantsKey = error.status === 401;
    keyForm.hidden = !wantsKey;
    fault.hidden = wantsKey && !api.hasKey();
    fault.textContent = error.message;
    if (wantsKey) document.querySelector("#key-field").focus();
    if (!(error instanceof api.Refusal)) throw error;
    return false;
  }
}

let opened = 0;

/** The page for one model. */
async function open(model) {
  opened += 1;
  const own = opened;
  location.replace(`#${model.name}/${model.version}`);
  document.querySelector("#about").textContent = describe(model);
  const examples = sizeOf(model.shape) && await api.listExamples(model);
  if (own !== opened) return; // another model was chosen meanwhile
  let ready = false;
  const change = () => ready && ask();
  const input = createInput(model, examples, change, say);
  const options = createOptions(model, change);
  const view = createView(model, input, change);
  const request = createRequest(model, say);
  const body = () => ({ model: model.name, version: model.version, ...options.body() });

  let calling = new AbortController(); // calls off what follows an answer that was overtaken
  const rest = () => main.removeAttribute("aria-busy");
  const follow = settled(async (signal) => {
    if (signal.aborted || own !== opened) return;
    await attempt(async () => {
      say(view.spoken());
      const [asked, row] = [body(), input.row()];
      await Promise.all(view.followers.map((one) => one.follow(asked, row, signal)));
    });
    if (!signal.aborted) rest();
  }, REST);
  const ask = latest(async () => {
    calling.abort();
    calling = new AbortController();
    main.setAttribute("aria-busy", "true");
    const done = await attempt(async () => {
      const asked = { ...body(), ...input.row() };
      request.show(asked);
      const answer = await api.predict({ ...asked, passes: true });
      options.learn(answer);
      view.show(answer);
      glance.show(...view.glance());
    });
    if (done) follow(calling.signal);
    else rest();
  });

  const answered = h("div", { class: "answer" }, ...view.elements, request.element);
  const glance = createGlance(answered);
  main.replaceChildren(
    h("div", { class: "question" },
      h("section", { "aria-label": "The input" }, input.element),
      h("section", { "aria-label": "How to ask" }, options.element)),
    answered, glance.element);
  ready = true;
  await ask();
}

function describe(model) {
  const about = (model.description || `A ${model.task}`).replace(/\w$/, "$&.");
  const { accuracy } = model.metrics.served ?? {};
  return accuracy === undefined ? about : `${about} Right on ${percent(accuracy)} of test rows.`;
}

/** How a version stands to the one that answers where none is named. */
function age(model, models) {
  if (model.latest) return "";
  const served = models.find((other) => other.latest && other.name === model.name);
  return served && model.version > served.version ? " (newer)" : " (older)";
}

async function start() {
  const models = await api.listModels();
  keyForm.hidden = true;
  if (!models.length) throw new api.Refusal(0, "There is no model yet: train one, and load this page again.");
  const name = (model) => `${model.name}/${model.version}`;
  const linked = models.findIndex((model) => `#${name(model)}` === location.hash);
  const chosen = linked < 0 ? Math.max(0, models.findIndex((model) => model.latest)) : linked;
  const id = fresh("model");
  const select = h("select", { id, onchange: () => attempt(() => open(models[select.selectedIndex])) },
    ...models.map((model, i) => h("option", { selected: i === chosen },
      `${model.name}, version ${model.version}${age(model, models)}`)));
  document.querySelector("#models").replaceChildren(h("label", { for: id }, "Model"), select);
  await open(models[chosen]);
}

keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  api.holdKey(document.querySelector("#key-field").value);
  attempt(start);
});
attempt(start);
