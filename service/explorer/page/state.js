// The state of the page: one flat object, spelled out in the fragment of the address, so that a link shows the same view.
// Knows nothing of the service or of the parts of the page.

import { useEffect, useState } from "./vendor/preact-htm.js";

/** The shortest decimal number that is this number in float32, as the service writes it. */
export function shortest(value) {
  const rounded = Math.fround(value);
  for (let digits = 6; digits < 9; digits++) {
    const text = Number(rounded.toPrecision(digits));
    if (Math.fround(text) === rounded) return text;
  }
  return Number(rounded.toPrecision(9));
}

/** Whether two points are the same. */
export const isSame = (one, other) => one.length === other.length && one.every((value, i) => value === other[i]);

// Base64, which a component can decode without a look.
const picture = { read: (written) => (/^(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(written) ? written : null), write: (value) => value };
const text = { read: (written) => written, write: (value) => value };
const oneOf = (...words) => ({ read: (written) => (words.includes(written) ? written : null), write: (value) => value });
const whole = (least, most) => ({
  read: (written) => (/^\d+$/.test(written) && least <= Number(written) && Number(written) <= most ? Number(written) : null),
  write: String,
});

/** Numbers with commas; `isGood` says whether they can be used. */
const numbers = (isGood = () => true) => ({
  read: (written) => {
    const words = written.split(",");
    const values = words.map(Number);
    return words.every((word) => word.trim()) && isPoint(values) && isGood(values) ? values : null;
  },
  write: (values) => values.map(shortest).join(","),
});
const points = numbers();

/** Whether something from outside is a list of numbers, which float32 can have. `size`: how many; else any but none. */
export const isPoint = (value, size = value?.length) =>
  Array.isArray(value) && value.length > 0 && value.length === size && value.every((one) => typeof one === "number" && Number.isFinite(Math.fround(one)));

export const METRICS = ["l2", "cosine", "w2", "jeffreys", "bhattacharyya", "hellinger", "fisher_rao"];
export const STEPS = { fewest: 3, most: 32 };

// name -> how it is written. docs/explore.md describes each.
const FIELDS = {
  model: text,
  collection: text,
  x: picture, // the picture of the part "Picture", in the size of the model, as base64 of a PNG
  home: points, // mu of the picture or of the item, or the chosen point
  item: text, // the id of the item whose mu home is
  start: points, // where the sliders of the part "Directions" start, if not at home
  z: points, // the point that all parts show
  a: points, // the ends of the path
  b: points,
  steps: whole(STEPS.fewest, STEPS.most),
  frame: whole(0, STEPS.most - 1),
  graph: whole(1, 1), // 1: the path through the data is asked for, too
  plane: { read: (written) => (/^(pca|\d+,\d+)$/.test(written) ? written : null), write: (value) => value }, // "pca", or two dimensions: "3,7"
  view: numbers(({ length, 2: width }) => length === 3 && width > 0), // what the map shows: the middle, x and y, and the width
  color: text, // the key of the metadata that colours the points
  highlight: text, // the value of that key whose points are not muted
  lasso: numbers(({ length }) => length >= 6 && length % 2 === 0), // corners of the lasso, x and y in turn
  hide: oneOf("pictures", "points", "pictures,points"), // what the map leaves out
  directions: oneOf("top", "local", "named"),
  metric: oneOf(...METRICS),
  filter: text,
  seed: whole(0, Number.MAX_SAFE_INTEGER),
};
const DEFAULTS = { steps: 12, frame: 0, plane: "pca", directions: "top", seed: 0 };
const MOST_UNDONE = 100;

/** Return the state that a fragment spells out. Values that cannot be used are left out. */
export function read(fragment) {
  const state = { ...DEFAULTS };
  for (const [name, written] of new URLSearchParams(fragment.replace(/^#/, ""))) {
    const value = Object.hasOwn(FIELDS, name) ? FIELDS[name].read(written) : null;
    if (value !== null && value !== "") state[name] = value;
  }
  return state;
}

/** Return the fragment of a state. */
export function write(state) {
  const spelled = new URLSearchParams();
  for (const [name, field] of Object.entries(FIELDS)) {
    const value = state[name];
    if (value !== undefined && value !== null && value !== DEFAULTS[name]) spelled.set(name, field.write(value));
  }
  return "#" + spelled.toString().replaceAll("%2C", ",");
}

let current = read(location.hash);
const undone = [];
const listeners = new Set();

// Browsers allow an address only so many changes in a time (Safari about three a second), and a drag makes sixty a second.
const MILLISECONDS_BETWEEN_ADDRESSES = 400;
let waiting = null;
let written = 0; // when

function writeAddress() {
  clearTimeout(waiting);
  waiting = null;
  written = performance.now();
  const fragment = write(current);
  if (fragment !== location.hash) history.replaceState(null, "", location.pathname + location.search + fragment);
}

function show(state) {
  current = state;
  waiting ??= setTimeout(writeAddress, Math.max(0, written + MILLISECONDS_BETWEEN_ADDRESSES - performance.now()));
  for (const listener of listeners) listener(state);
}

// These belong to home, and go with it.
const OF_HOME = { item: null, start: null };

/** Change some fields. `undoable: false` is for the steps of a drag, whose first step was undoable. */
export function set(changes, { undoable = true } = {}) {
  if (undoable) {
    undone.push(current);
    undone.splice(0, undone.length - MOST_UNDONE);
  }
  show({ ...current, ...("home" in changes && OF_HOME), ...changes });
}

/** Take the last undoable change back. */
export function undo() {
  if (undone.length) show(undone.pop());
}

export const canUndo = () => undone.length > 0;

/** The state, in a component; the component is drawn again when it changes. */
export function usePageState() {
  const [state, change] = useState(current);
  useEffect(() => {
    listeners.add(change);
    change(current);
    return () => listeners.delete(change);
  }, []);
  return state;
}

addEventListener("pagehide", writeAddress);
addEventListener("hashchange", () => show(read(location.hash)));
