// The service's side of the page: requests, answers, failures. Knows no model and no element.

const HELD = "mcdrop-key"; // in this tab's session storage

/** Why a request was not answered; `status` is HTTP's, 0 where nothing came back. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Where a path of the service is, wherever the page is mounted. */
export const locate = (path) => new URL(path, document.baseURI).href;

/** Keep the API key for this tab. */
export const holdKey = (key) => sessionStorage.setItem(HELD, key);

/** Whether requests carry a key. */
export const hasKey = () => sessionStorage.getItem(HELD) !== null;

/** The versions that can be asked. */
export const listModels = async () => (await (await send("models")).json()).models;

/** Rows of a model's test part, with their labels; none where it has none. */
export async function listExamples({ name, version }) {
  return (await send(`models/${name}/versions/${version}/examples`)).json();
}

/** The answer for the rows of `body`; `signal` calls it off. */
export const predict = async (body, signal) => (await post("predict", body, signal)).json();

/** The answer after 8, 16, 32 ... passes, as the server sends it; `signal` ends the stream. */
export async function* stream(body, signal) {
  const response = await post("predict/stream", body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (text + value).split(/\r?\n\r?\n/);
    text = events.pop();
    for (const { name, data } of events.map(parse)) {
      if (name === "error") throw new Refusal(0, data.detail);
      if (name === "estimate") yield data;
    }
  }
}

function parse(event) {
  const fields = event.split(/\r?\n/).map((line) => line.match(/^(\w+): ?(.*)$/) ?? []);
  const all = (name) => fields.filter((field) => field[1] === name).map((field) => field[2]);
  return { name: all("event")[0] ?? "message", data: JSON.parse(all("data").join("\n") || "null") };
}

const post = (path, body, signal) => send(path, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
  signal,
});

async function send(path, options = {}, patience = 3) {
  const key = sessionStorage.getItem(HELD);
  const headers = { ...options.headers, ...(key === null ? {} : { "x-api-key": key }) };
  let response;
  try {
    response = await fetch(locate(path), { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The server cannot be reached: is it running?");
  }
  if (response.ok) return response;
  const wait = Number(response.headers.get("retry-after"));
  if (wait && patience) {
    await new Promise((resume) => { setTimeout(resume, 1000 * Math.min(wait, 5)); });
    options.signal?.throwIfAborted();
    return send(path, options, patience - 1);
  }
  const told = await response.json().catch(() => ({}));
  throw new Refusal(response.status, told.detail ?? `The server answered ${response.status}.`);
}
