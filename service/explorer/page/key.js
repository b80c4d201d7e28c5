// The API key: asked for when the service wants one, and changed when somebody has another one.
// Knows nothing of what is asked with it.

import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { askAgain, hasKey, setKey } from "./api.js";
import { Trouble } from "./controls.js";

/** A form for a key, and a button that opens it as long as a key is in use. The key is forgotten when the tab is closed. */
export function Key() {
  const [isOpen, open] = useState(false);
  const [error, setError] = useState(null);
  useEffect(() => {
    const ask = () => open(true);
    addEventListener("key-needed", ask);
    return () => removeEventListener("key-needed", ask);
  }, []);
  const enter = (event) => {
    event.preventDefault();
    const key = new FormData(event.target).get("key").trim();
    const isGood = /^[^\s\p{C}]+$/u.test(key);
    setError(isGood ? null : new Error("An API key has no spaces and no invisible characters. Copy it once more, or type it."));
    if (!isGood) return;
    setKey(key);
    open(false);
    askAgain(true);
  };
  if (!isOpen) return hasKey() && html`<p class="key"><button data-testid="key-change" title="use another key" onClick=${() => open(true)}>API key</button></p>`;
  return html`<form class="key" data-testid="key" onSubmit=${enter}>
    <label>${hasKey() ? "Another API key" : "This service needs an API key"} <input name="key" type="password" autocomplete="off" required /></label>
    <button>use it</button> <span class="hint">It is kept until this tab is closed.</span>
    <${Trouble} error=${error} />
  </form>`;
}
