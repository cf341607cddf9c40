// The same question from a terminal and from Python, to be copied.

import { hasKey, locate } from "./api.js";
import { fresh, h, panel } from "./dom.js";

const FORMS = { curl, Python: python };
const ARGUMENT = 1e5; // characters; Linux takes an argument of 128 KiB at most

/** The panel for `model`; `show(body)` writes the request that `body` is. */
export function createRequest(model, say) {
  const code = h("code");
  const id = fresh("code");
  const pre = h("pre", { id, tabindex: 0, "aria-label": "The request" }, code);
  let [form, body] = ["curl", null];
  const render = () => { code.textContent = body ? FORMS[form](body, model) : ""; };
  const choices = Object.keys(FORMS).map((name) => h("label", {},
    h("input", { type: "radio", name: id, value: name, checked: name === form, onchange: () => {
      form = name;
      render();
    } }), name));
  const copy = h("button", { type: "button", onclick: async () => {
    const done = await write(code);
    copy.textContent = done ? "Copied" : "Selected";
    say(done ? "The request was copied" : "The request is selected: copy it");
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  } }, "Copy");
  const element = panel("Ask it yourself", "The request this page just made. Same seed, same answer.",
    h("div", { class: "forms", role: "group", "aria-label": "Form of the request" }, ...choices, copy), pre);
  return {
    element,
    show(now) {
      body = now;
      render();
    },
  };
}

/** Copy the text of `element`; where the browser forbids it, select it, and say false. */
async function write(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return false;
  }
}

function curl(body) {
  const key = hasKey() ? ' -H "X-API-Key: $MCDROP_API_KEY"' : "";
  const ask = `curl -s ${locate("predict")} -H 'content-type: application/json'${key}`;
  const text = JSON.stringify(body);
  if (text.length > ARGUMENT) return `${ask} -d @- <<'END'\n${text}\nEND`;
  return `${ask} \\\n  -d '${text.replaceAll("'", "'\\''")}'`;
}

function python({ inputs, records, ...options }, { classes }) {
  const key = hasKey() ? ', key=os.environ["MCDROP_API_KEY"]' : "";
  const asked = Object.entries(options).map(([name, value]) => `${name}=${literal(value)}`).join(", ");
  const [names, shown] = classes.length
    ? [`classes = ${literal(classes)}\n`,
      "[classes[i] for i in answer.prediction], answer.confidence, answer.epistemic"]
    : ["", "answer.mean, answer.std, answer.lower, answer.upper"];
  return `${hasKey() ? "import os\n\n" : ""}import mcdrop\n\nrows = ${literal(inputs ?? records)}\n${names}`
    + `with mcdrop.Client("${locate("./").replace(/\/$/, "")}"${key}) as client:\n`
    + `    answer = client.predict(rows, ${asked})\n`
    + `print(${shown})`;
}

/** A JSON value as Python writes it. */
function literal(value) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  const pairs = Object.entries(value).map(([name, inner]) => `${JSON.stringify(name)}: ${literal(inner)}`);
  return `{${pairs.join(", ")}}`;
}
