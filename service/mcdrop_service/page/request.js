// The same question from a terminal and from Python, to be copied.

import { hasKey, locate } from "./api.js";
import { fresh, h, panel } from "./dom.js";

const FORMS = { curl, Python: python };

/** The panel; `show(body)` writes the request that `body` is. */
export function createRequest(say) {
  const code = h("code");
  const id = fresh("code");
  const pre = h("pre", { id, tabindex: 0, "aria-label": "The request" }, code);
  let [form, body] = ["curl", null];
  const render = () => { code.textContent = body ? FORMS[form](body) : ""; };
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
  const text = JSON.stringify(body).replaceAll("'", "'\\''");
  return `curl -s ${locate("predict")} -H 'content-type: application/json'${key} \\\n  -d '${text}'`;
}

function python(body) {
  const key = hasKey() ? ', headers={"X-API-Key": os.environ["MCDROP_API_KEY"]}' : "";
  const url = JSON.stringify(locate("predict"));
  return `${hasKey() ? "import os\n" : ""}import httpx\n\nbody = ${literal(body)}\n`
    + `answer = httpx.post(${url}, json=body${key}).raise_for_status().json()\n`
    + `print(answer["predictions"][0])`;
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
