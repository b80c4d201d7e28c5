// Requests to the service: built once, sent, and shown as curl or Python, so that everybody can have what the page shows.
// Knows nothing of the parts of the page.

import { useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact-htm.js";

const KEY = "vae-api-key"; // kept for the session only
const BUSY = [429, 503];
const MOST_TRIES = 4;

/** A request: method, path with its query, headers, and a body: text, or bytes. */
export function request(path, { method, query = {}, json, body, accept = "application/json" } = {}) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined && value !== null) parameters.set(name, value);
  const written = parameters.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
  const content = json === undefined ? body : JSON.stringify(json);
  return {
    method: method ?? (content === undefined ? "GET" : "POST"),
    path: path + (written && `?${written}`),
    headers: { accept, ...(json !== undefined && { "content-type": "application/json" }) },
    body: content,
  };
}

/** What the service answers instead of a result, or that it does not answer. */
export class ServiceError extends Error {
  constructor(message, status = 0, code = "") {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const hasKey = () => sessionStorage.getItem(KEY) !== null;
export const setKey = (key) => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY));

let isStarting = false; // the models are still loading

function sayStarting(now) {
  if (now !== isStarting) dispatchEvent(new CustomEvent("service-starting", { detail: now }));
  isStarting = now;
}

/** A text for a header: fetch takes a character for each byte. */
const asHeader = (text) => String.fromCharCode(...new TextEncoder().encode(text));

/**
 * Send a request; the answer, if its status is 200. A full queue is asked again when it says so, and a service that starts
 * until it has started. Throws ServiceError.
 */
export async function send(asked, signal) {
  for (let tries = 1; ; tries++) {
    const key = sessionStorage.getItem(KEY);
    // With x-requested-with the service leaves it to this page to ask for a key; else the browser would open a window for it.
    const headers = { ...asked.headers, "x-requested-with": "XMLHttpRequest", ...(key && { authorization: `Bearer ${asHeader(key)}` }) };
    let answer;
    try {
      answer = await fetch(asked.path, { method: asked.method, headers, body: asked.body, signal });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ServiceError("the service does not answer; is it still running?");
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
    throw new ServiceError(problem.detail ?? `the service answered with status ${answer.status}`, answer.status, problem.code);
  }
}

export const sendForJson = async (asked, signal) => (await send(asked, signal)).json();

/** Return a function that asks for the newest of its arguments only: one request is in flight, and those in between are dropped. */
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

/** The answer to a request, in a component: {answer, error, asked}. It is asked anew when the request changes; null asks nothing. */
export function useAnswer(asked, readAnswer = sendForJson) {
  const [found, setFound] = useState({ answer: null, error: null, asked: null });
  const ask = useRef(null);
  ask.current ??= newest(
    (one) => one && readAnswer(one),
    (answer, one) => setFound({ answer, error: null, asked: one }),
    (error, one) => setFound({ answer: null, error, asked: one }),
  );
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    const again = () => setAttempt((count) => count + 1);
    addEventListener("ask-again", again); // there is a key now, or the service is back
    return () => removeEventListener("ask-again", again);
  }, []);
  const written = asked && [asked.method, asked.path, asked.body].join(" ");
  useLayoutEffect(() => void ask.current(asked), [written, attempt]); // an effect would wait for the next frame
  return found;
}

// --- the same request elsewhere

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
const address = (asked) => new URL(asked.path, location.href.split("#")[0]).href;
const base64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
const additional = (asked) => Object.entries(asked.headers).filter(([, value]) => value !== "application/json");

/** The command that prints the same bytes. */
export function asCurl(asked) {
  const parts = [`curl -s ${quoted(address(asked))}`];
  if (asked.method !== (asked.body === undefined ? "GET" : "POST")) parts.push(`-X ${asked.method}`);
  for (const [name, value] of additional(asked)) parts.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (hasKey()) parts.push('-H "authorization: Bearer $KEY"');
  if (asked.body instanceof Uint8Array) return `base64 -d <<< ${base64(asked.body)} | ${parts.join(" ")} --data-binary @-`;
  if (asked.body !== undefined) parts.push(`-d ${quoted(asked.body)}`);
  return parts.join(" ");
}

/** A program that prints the same answer. */
export function asPython(asked) {
  const bytes = asked.body instanceof Uint8Array;
  const headers = Object.fromEntries(additional(asked));
  const written = Object.entries(headers).map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`);
  if (hasKey()) written.push('"authorization": f"Bearer {os.environ[\'KEY\']}"');
  const parts = [JSON.stringify(asked.method), JSON.stringify(address(asked))];
  if (written.length) parts.push(`headers={${written.join(", ")}}`);
  if (bytes) parts.push(`content=base64.b64decode("${base64(asked.body)}")`);
  else if (asked.body !== undefined) parts.push(`content=${JSON.stringify(asked.body)}`);
  const modules = ["httpx", ...(bytes ? ["base64"] : []), ...(hasKey() ? ["os"] : [])].sort();
  const shown = asked.headers.accept === "application/json" ? "answer.json()" : "len(answer.content), \"bytes\"";
  return [...modules.map((name) => `import ${name}`), "", `answer = httpx.request(${parts.join(", ")})`, "answer.raise_for_status()", `print(${shown})`].join("\n");
}
