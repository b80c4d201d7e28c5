// The state of the page: one flat object, spelled out in the fragment of the address, so that a link shows the same view.
// Knows nothing of the service or of the parts of the page.

import { useEffect, useState } from "./vendor/preact-htm.js";
import { isPoint, shortest } from "./numbers.js";

export const LONGEST_ITEM = 12 * 1024; // characters of an item in an address
const BASE64 = /^(?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

// How a value is read from an address, null if it cannot be, and how it is written, null if it is left out.
const item = {
  read: (spelled) => (BASE64.test(spelled) || isJson(spelled) ? spelled : null),
  write: (value) => (value.length <= LONGEST_ITEM ? value : null),
};
/** Whether a text is a list, an object or a string in JSON. */
function isJson(spelled) {
  try {
    return '[{"'.includes(spelled[0]) && Boolean(JSON.parse(spelled));
  } catch {
    return false;
  }
}
export const readItem = item.read;
const text = { read: (spelled) => spelled, write: (value) => value };
const oneOf = (...words) => ({ read: (spelled) => (words.includes(spelled) ? spelled : null), write: (value) => value });
const whole = (least, most) => ({
  read: (spelled) => (/^\d+$/.test(spelled) && least <= Number(spelled) && Number(spelled) <= most ? Number(spelled) : null),
  write: String,
});
/** Numbers with commas; `isGood` says whether they can be used. */
const numbers = (isGood = () => true) => ({
  read: (spelled) => {
    const words = spelled.split(",");
    const values = words.map(Number);
    return words.every((word) => word.trim()) && isPoint(values) && isGood(values) ? values : null;
  },
  write: (values) => values.map(shortest).join(","),
});
const point = numbers();
const plane = { read: (spelled) => (/^(pca|\d+,\d+)$/.test(spelled) ? spelled : null), write: (value) => value };

export const METRICS = ["l2", "cosine", "w2", "jeffreys", "bhattacharyya", "hellinger", "fisher_rao"];
export const STEPS = { fewest: 3, most: 32 };

// What a field belongs to: another model, or another collection, begins without it.
const MODEL = "model";
const COLLECTION = "collection";

// name -> how it is written, and what it belongs to. docs/explore.md describes each.
const FIELDS = {
  model: [text],
  collection: [text, MODEL],
  label: [text, MODEL], // what a conditional model is told
  x: [item, MODEL], // the item of the part "Picture": a picture in the size of the model as base64 of a PNG, or JSON
  home: [point, MODEL], // mu of the picture or of the item, or the chosen point
  item: [text, COLLECTION], // the id of the item whose mu home is
  start: [point, MODEL], // where the sliders of the part "Directions" start, if not at home
  z: [point, MODEL], // the point that all parts show
  a: [point, MODEL], // the ends of the path
  b: [point, MODEL],
  steps: [whole(STEPS.fewest, STEPS.most)],
  frame: [whole(0, STEPS.most - 1), MODEL],
  graph: [whole(1, 1), COLLECTION], // 1: the path through the data is asked for, too
  plane: [plane, MODEL], // "pca", or two dimensions: "3,7"
  view: [numbers(({ length, 2: width }) => length === 3 && width > 0), COLLECTION], // what the map shows: the middle, x and y, and the width
  color: [text, COLLECTION], // the key of the metadata that colours the points
  highlight: [text, COLLECTION], // the value of that key whose points are not muted
  lasso: [numbers(({ length }) => length >= 6 && length % 2 === 0), COLLECTION], // corners of the lasso, x and y in turn
  hide: [oneOf("pictures", "points", "pictures,points")], // of the map
  directions: [oneOf("top", "local", "named")],
  metric: [oneOf(...METRICS), COLLECTION],
  filter: [text, COLLECTION],
  seed: [whole(0, Number.MAX_SAFE_INTEGER)],
};
// Two more fields are for undo only, and in no address: `draft` is the point of a drawing that is not finished, and `drawn` is
// x if the visitor has drawn it.
const DEFAULTS = { steps: 12, frame: 0, plane: "pca", directions: "top", seed: 0 };
const MOST_EARLIER = 100;

/** Return the state that a fragment spells out. Values that cannot be used are left out. */
function readFragment(fragment) {
  const state = { ...DEFAULTS };
  for (const [name, spelled] of new URLSearchParams(fragment.replace(/^#/, ""))) {
    const value = Object.hasOwn(FIELDS, name) ? FIELDS[name][0].read(spelled) : null;
    if (value !== null && value !== "") state[name] = value;
  }
  return state;
}

/** Return the fragment of a state. */
export function writeFragment(state) {
  const spelled = new URLSearchParams();
  for (const [name, [kind]] of Object.entries(FIELDS)) {
    const isSet = ![undefined, null, DEFAULTS[name]].includes(state[name]);
    const value = isSet ? kind.write(state[name]) : null;
    if (value !== null) spelled.set(name, value);
  }
  return "#" + spelled.toString().replaceAll("%2C", ",");
}

const without = (...scopes) => {
  const names = Object.keys(FIELDS).filter((name) => scopes.includes(FIELDS[name][1]));
  return Object.fromEntries(names.map((name) => [name, DEFAULTS[name] ?? null]));
};

export const chooseModel = (model) => set({ ...without(MODEL, COLLECTION), model });
export const chooseCollection = (collection) => set({ ...without(COLLECTION), collection });

let current = readFragment(location.hash);
const earlier = []; // states, for undo
const listeners = new Set();

// Browsers allow an address only so many changes in a time (Safari about three a second), and a drag makes sixty a second.
const MILLISECONDS_BETWEEN_ADDRESSES = 400;
let waiting = null;
let lastAddress = 0; // when it was written

function writeAddress() {
  clearTimeout(waiting);
  waiting = null;
  lastAddress = performance.now();
  const fragment = writeFragment(current);
  if (fragment !== location.hash) history.replaceState(null, "", location.pathname + location.search + fragment);
}

function show(state) {
  current = state;
  waiting ??= setTimeout(writeAddress, Math.max(0, lastAddress + MILLISECONDS_BETWEEN_ADDRESSES - performance.now()));
  for (const listener of listeners) listener(state);
}

// These belong to home, and go with it.
const OF_HOME = { item: null, start: null };

/** Change some fields. `undoable: false` is for the steps of a drag, whose first step was undoable. */
export function set(changes, { undoable = true } = {}) {
  if (undoable) {
    earlier.push(current);
    earlier.splice(0, earlier.length - MOST_EARLIER);
  }
  show({ ...current, ...("home" in changes && OF_HOME), ...changes });
}

/** Take the last undoable change back. */
export function undo() {
  if (earlier.length) show(earlier.pop());
}

export const canUndo = () => earlier.length > 0;

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
addEventListener("hashchange", () => show(readFragment(location.hash)));
