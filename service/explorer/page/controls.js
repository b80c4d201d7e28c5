// Small components that several parts use: a picture that can be chosen and dragged, a target for pictures, messages, copies.
// Knows nothing of the service beyond its requests.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { asCurl, asPython } from "./api.js";
import { isItem } from "./kinds.js";
import { isPoint } from "./numbers.js";
import { readItem, set, writeFragment } from "./state.js";

const POINT = "application/x-latent"; // a dragged picture carries its latent,
const ITEM = "application/x-picture"; // or its item, as the field x of the address has it, before it is encoded

/** Show everywhere a point of the latent space; the sliders start there. `item`: its id, if it is an item of the collection. */
export function choose(z, { item = null } = {}) {
  set({ z, home: z, x: null, item });
}

const LONGEST = 40;

/** The beginning of a text that may be long, such as a value of metadata. */
export const brief = (text) => (text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text);

/** A section with a heading, for screen readers, too. */
export function Part({ id, title, hint, children }) {
  return html`<section id=${id} data-testid=${id} aria-labelledby="${id}-title">
    <h2 id="${id}-title" tabindex="-1">${title}</h2>
    ${hint && html`<p class="hint">${hint}</p>`}
    ${children}
  </section>`;
}

/**
 * Properties of an element that stands for a point, or for an item `x` that is not encoded yet: the keys a and b make it an end
 * of the path, and it can be dragged there.
 */
export function carries(z, x = null) {
  const put = (end) => {
    if (z) set({ [end]: z });
    else dispatchEvent(new CustomEvent("item-for-end", { detail: { end, x } }));
  };
  return {
    draggable: Boolean(z || x),
    "data-carries": true,
    onDragStart: (event) => event.dataTransfer.setData(...(z ? [POINT, JSON.stringify(z)] : [ITEM, x])),
    onKeyDown: (event) => (z || x) && /^[ab]$/.test(event.key) && !event.ctrlKey && !event.metaKey && put(event.key),
  };
}

/**
 * A picture, base64 of a PNG, that is chosen by a click or Enter, and carries its point `z`; its item `x`, if it has
 * none. `item`: its id, if it is an item of the collection.
 */
export function Thumb({ image, z, x = image, item = null, label, testid, onChoose = () => z && choose(z, { item }), current = false }) {
  return html`<button
    ...${carries(z, x)}
    class="thumb"
    data-testid=${testid}
    aria-label=${label}
    aria-pressed=${current}
    title=${`${label} (keys a and b: ends of the path)`}
    onClick=${onChoose}
  ><img src="data:image/png;base64,${image}" alt="" draggable=${false} /></button>`;
}

function pointOf(text, size) {
  const z = JSON.parse(text);
  if (!isPoint(z, size)) throw new Error("no point of this model");
  return z;
}

/**
 * What a dropped picture is given to: a latent to `onPoint`, an item x to `onItem`, or a file to `onFile`. What another page has
 * dragged here, and is none of them, is an error for `onTrouble`.
 */
export function target({ model, onPoint, onItem, onFile, onTrouble }) {
  const size = model.latent_dim;
  return {
    onDragOver: (event) => event.preventDefault(),
    onDrop: (event) => {
      event.preventDefault();
      const [point, x] = [POINT, ITEM].map((type) => event.dataTransfer.getData(type));
      onTrouble(null);
      try {
        if (point) return onPoint(pointOf(point, size));
        if (x && readItem(x) && isItem(model, x)) return onItem(x);
        if (x) throw new Error("no item of this model");
      } catch {
        return onTrouble(new Error(`What was dropped is no point of this model, which has ${size} numbers, and no picture.`));
      }
      if (event.dataTransfer.files.length) onFile(event.dataTransfer.files[0]);
    },
  };
}

/** What the service says is wrong. That it does not answer says the page, once for all parts. */
export function Trouble({ error }) {
  return error && !error.isGone && html`<p class="trouble" role="alert" data-testid="trouble">${error.message}</p>`;
}

/** What was said of the last copy, and a function that copies a text: [said, copy]. */
function useCopying() {
  const [said, say] = useState("");
  const copy = async (content, what) => {
    try {
      await navigator.clipboard.writeText(content);
      say(`copied ${what}`);
    } catch {
      say("");
      prompt("Copy this:", content); // the browser allows no access to the clipboard, for instance without https
    }
  };
  return [said, copy];
}

/** Buttons that copy requests as commands and as a program. */
export function Copy({ asked, testid }) {
  const [said, copy] = useCopying();
  const requests = (Array.isArray(asked) ? asked : [asked]).filter(Boolean);
  const disabled = !requests.length;
  const all = (write) => requests.map(write).join("\n");
  return html`<p class="copy">
    <button ...${{ disabled }} data-testid="${testid}-curl" data-content=${all(asCurl)}
      onClick=${() => copy(all(asCurl), "as curl")}>copy as curl</button>
    <button ...${{ disabled }} data-testid="${testid}-python"
      onClick=${() => copy(all(asPython), "as Python")}>copy as Python</button>
    <span role="status">${said}</span>
  </p>`;
}

/** A button that copies the address of the page as it is now. */
export function CopyLink({ state }) {
  const [said, copy] = useCopying();
  const fragment = writeFragment(state);
  const press = () => copy(location.href.split("#")[0] + fragment, "the link");
  return html`<button data-testid="copy-link" data-content=${fragment} title="the address of this page" onClick=${press}>copy link</button>
    <span class="hint" role="status">${said || "The address of this page is a link to what you see."}</span>`;
}

/** A command that is shown, and a button that copies it. */
export function Command({ content, testid }) {
  const [said, copy] = useCopying();
  return html`<p class="copy">
    <code data-testid=${testid}>${content}</code>
    ${" "}<button onClick=${() => copy(content, "the command")}>copy</button> <span role="status">${said}</span>
  </p>`;
}

/** The width of an element in CSS pixels, kept up to date: [ref, width]. */
export function useWidth() {
  const ref = useRef(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.round(entry.contentRect.width)));
    observer.observe(ref.current);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

/** A value once it has rested for a moment. What is slow follows it, so that what follows the pointer is not kept waiting. */
export function useResting(value, milliseconds = 150) {
  const [resting, rest] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => rest(value), milliseconds);
    return () => clearTimeout(timer);
  }, [value]);
  return resting;
}
