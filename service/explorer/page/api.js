// Requests to the service: built once, sent, and shown as curl or Python, so that everybody can have what the page shows.
// Knows nothing of the parts of the page.

import { useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact-htm.js";
import { toBase64 } from "./base64.js";

const KEY = "vae-api-key"; // kept for the session only
const BUSY = [429, 503];
const MOST_TRIES = 4;

/** A request: method, path with its query, headers, and a body: text, or bytes. */
export function request(path, { method, query = {}, json, body, accept = "application/json" } = {}) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined && value !== null) parameters.set(name, value);
  const spelled = parameters.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
  const content = json === undefined ? body : JSON.stringify(json);
  return {
    method: method ?? (content === undefined ? "GET" : "POST"),
    path: path + (spelled && `?${spelled}`),
    headers: { accept, ...(json !== undefined && { "content-type": "application/json" }) },
    body: content,
  };
}

// Names and ids may have any characters; that of training latents, training:mnist, is written as it is.
const escaped = (name) => encodeURIComponent(name).replaceAll("%3A", ":");
export const modelPath = (model) => `models/${escaped(model.name)}`;
export const collectionPath = (collection) => `collections/${escaped(collection.name)}`;
export const directionPath = (collection, name) => `${collectionPath(collection)}/directions/${escaped(name)}`;

export const hasKey = () => sessionStorage.getItem(KEY) !== null;
export const setKey = (key) => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY));

export const itemRequest = (collection, id) => request(`${collectionPath(collection)}/items/${escaped(id)}`);

let isGone = false; // whether the service did not answer the last time

/** Ask again: for what has failed, since the service is back, or for all, since there is another key. */
export const askAgain = (isAll = false) => dispatchEvent(new CustomEvent("ask-again", { detail: isAll }));

/** Call a function when it is time to ask again; its argument is whether for all. */
export function useAskAgain(ask) {
  const newest = useRef(null);
  newest.current = ask;
  useEffect(() => {
    const again = ({ detail }) => newest.current(detail);
    addEventListener("ask-again", again);
    return () => removeEventListener("ask-again", again);
  }, []);
}

let isStarting = false; // the models are still loading

function sayStarting(now) {
  if (now !== isStarting) dispatchEvent(new CustomEvent("service-starting", { detail: now }));
  isStarting = now;
}

/** A text for a header: fetch takes a character for each byte. */
const asHeader = (text) => String.fromCharCode(...new TextEncoder().encode(text));

const PATIENCE = 5000; // milliseconds
let late = 0; // requests that wait for longer than that

/** Fetch, and tell the page how many answers are late. */
async function fetchPatiently(path, options) {
  let isLate = false;
  const say = (change) => dispatchEvent(new CustomEvent("service-late", { detail: (late += change) }));
  const timer = setTimeout(() => {
    isLate = true;
    say(1);
  }, PATIENCE);
  try {
    return await fetch(path, options);
  } finally {
    clearTimeout(timer);
    if (isLate) say(-1);
  }
}

/**
 * Send a request; the answer, if its status is 200. A full queue is asked again when it says so, and a service that starts
 * until it has started. Throws an Error with what the service says and the `status`; with `isGone`, if it does not answer:
 * the page says that once, for all parts.
 */
export async function send(asked) {
  for (let tries = 1; ; tries++) {
    const key = sessionStorage.getItem(KEY);
    // With x-requested-with the service leaves it to this page to ask for a key; else the browser would open a window for it.
    const headers = { ...asked.headers, "x-requested-with": "XMLHttpRequest", ...(key && { authorization: `Bearer ${asHeader(key)}` }) };
    let answer;
    try {
      answer = await fetchPatiently(asked.path, { method: asked.method, headers, body: asked.body });
    } catch {
      isGone = true;
      dispatchEvent(new Event("service-gone"));
      throw Object.assign(new Error("the service does not answer"), { isGone });
    }
    if (isGone) {
      isGone = false;
      askAgain();
    }
    if (answer.ok) {
      sayStarting(false);
      return answer;
    }
    const problem = await answer.json().catch(() => ({}));
    sayStarting(problem.code === "starting");
    if (isStarting || (BUSY.includes(answer.status) && tries < MOST_TRIES)) {
      const seconds = Number(answer.headers.get("retry-after")) || 1;
      await new Promise((resolve) => setTimeout(resolve, Math.min(seconds, 5) * 1000));
      continue;
    }
    if (answer.status === 401) dispatchEvent(new Event("key-needed"));
    if (problem.code === "unknown_model") dispatchEvent(new Event("model-gone"));
    const { status } = answer;
    throw Object.assign(new Error(problem.detail ?? `the service answered with status ${status}`), { status, code: problem.code });
  }
}

export const sendForJson = async (asked) => (await send(asked)).json();
const sendAll = (asked) => (Array.isArray(asked) ? Promise.all(asked.map(sendForJson)) : sendForJson(asked));

/**
 * Return a function that asks for the newest of its arguments only: one request is in flight, and those in between are dropped.
 */
export function newest(ask, done, failed) {
  let running = false;
  let waiting = null;
  return async function next(...values) {
    waiting = values;
    if (running) return;
    running = true;
    while (waiting) {
      const now = waiting;
      waiting = null;
      try {
        done(await ask(...now), ...now);
      } catch (error) {
        failed(error, ...now);
      }
    }
    running = false;
  };
}

/**
 * The answer to a request, or the list of answers to several, in a component: {answer, error, asked}. It is asked anew when the
 * request changes; null asks nothing.
 */
export function useAnswer(asked, readAnswer = sendAll) {
  const [found, setFound] = useState({ answer: null, error: null, asked: null });
  const ask = useRef(null);
  ask.current ??= newest(
    (one) => one && readAnswer(one),
    (answer, one) => setFound({ answer, error: null, asked: one }),
    (error, one) => setFound({ answer: null, error, asked: one }),
  );
  const [attempt, setAttempt] = useState(0);
  useAskAgain((isAll) => (isAll || found.error) && setAttempt((count) => count + 1));
  const identity = asked && [asked].flat().map(({ method, path, body }) => [method, path, body].join(" ")).join("\n");
  useLayoutEffect(() => void ask.current(asked), [identity, attempt]); // an effect would wait for the next frame
  return found;
}

// --- the same request elsewhere

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
const address = (asked) => new URL(asked.path, location.href.split("#")[0]).href;
const additional = (asked) => Object.entries(asked.headers).filter(([, value]) => value !== "application/json");

/** The command that prints the same bytes. */
export function asCurl(asked) {
  const parts = [`curl -s ${quoted(address(asked))}`];
  if (asked.method !== (asked.body === undefined ? "GET" : "POST")) parts.push(`-X ${asked.method}`);
  for (const [name, value] of additional(asked)) parts.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (hasKey()) parts.push('-H "authorization: Bearer $KEY"');
  if (asked.body instanceof Uint8Array) return `base64 -d <<< ${toBase64(asked.body)} | ${parts.join(" ")} --data-binary @-`;
  if (asked.body !== undefined) parts.push(`-d ${quoted(asked.body)}`);
  return parts.join(" ");
}

/** A program that prints the same answer. */
export function asPython(asked) {
  const bytes = asked.body instanceof Uint8Array;
  const headers = Object.fromEntries(additional(asked));
  const fields = Object.entries(headers).map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`);
  if (hasKey()) fields.push('"authorization": f"Bearer {os.environ[\'KEY\']}"');
  const parts = [JSON.stringify(asked.method), JSON.stringify(address(asked))];
  if (fields.length) parts.push(`headers={${fields.join(", ")}}`);
  if (bytes) parts.push(`content=base64.b64decode("${toBase64(asked.body)}")`);
  else if (asked.body !== undefined) parts.push(`content=${JSON.stringify(asked.body)}`);
  const modules = ["httpx", ...(bytes ? ["base64"] : []), ...(hasKey() ? ["os"] : [])].sort();
  const shown = asked.headers.accept === "application/json" ? "answer.json()" : "len(answer.content), \"bytes\"";
  const imports = modules.map((name) => `import ${name}`);
  return [...imports, "", `answer = httpx.request(${parts.join(", ")})`, "answer.raise_for_status()", `print(${shown})`].join("\n");
}
