// The keys of a collection's metadata, and the one whose values are few enough to choose from.
// Knows nothing of what is made of them.

import { useMemo } from "./vendor/preact-htm.js";
import { collectionPath, request, useAnswer } from "./api.js";
import { once } from "./asked_once.js";
import { brief } from "./controls.js";

const MOST_VALUES = 12;
const LOOKED_AT = 100; // items whose keys are looked at
const SAMPLE = 1000; // items whose values are
const MOST_KEYS = 8; // of a request for values
const LONGEST_KEY = 200;

/** Whether the service can be asked for the values of a key: in requests, keys are separated by commas. */
export const canBeAsked = (key) => key !== "" && !/^ | $|[,\0]/.test(key) && [...key].length <= LONGEST_KEY;

/**
 * {keys, leftOut, key, values, isKnown}: the keys with plain values, "label" before others, and how many of these cannot be asked
 * for; the first key that has 2 to 12 values, and these values. The key is null if none is like this, and as long as it is not known.
 */
export function useCommonKey(collection) {
  const path = collection && collectionPath(collection);
  const some = useAnswer(path && request(`${path}/items`, { query: { limit: LOOKED_AT } }), once);
  const all = useMemo(() => keysOf(some.answer?.items ?? []), [some.answer]);
  const keys = useMemo(() => all.filter(canBeAsked), [all]);
  // The points of this map are not used, and a plane of two dimensions costs nothing.
  const query = { dims: "0,1", keys: keys.slice(0, MOST_KEYS).join(","), limit: SAMPLE };
  const asked = keys.length && collection.latent_dim > 1 ? request(`${path}/map`, { query }) : null;
  const sample = useAnswer(asked, once);
  const isKnown = Boolean(some.error || (some.answer && (!asked || sample.answer || sample.error)));
  return useMemo(() => {
    const found = sample.answer?.metadata ?? {};
    const values = (key) => [...new Set((Object.hasOwn(found, key) ? found[key] : []).filter(isPlain))].sort(inOrder);
    const isChoice = (key) => values(key).length > 1 && values(key).length <= MOST_VALUES;
    const key = keys.find(isChoice) ?? null;
    return { keys, leftOut: all.length - keys.length, key, values: key === null ? [] : values(key), isKnown };
  }, [keys, sample.answer, isKnown]);
}

const isPlain = (value) => value !== null && typeof value !== "object";

/** The keys that have plain values, in their order, but "label" first. */
function keysOf(items) {
  const found = new Set();
  for (const { metadata } of items) for (const [key, value] of Object.entries(metadata)) if (isPlain(value)) found.add(key);
  return [...found].sort().sort((one, other) => (other === "label") - (one === "label"));
}

/** A value as people write it. */
export const plain = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** Metadata in words: "label 7, hand left". */
export function describe(metadata) {
  return Object.entries(metadata).map(([key, value]) => `${brief(key)} ${brief(plain(value))}`).join(", ");
}

function inOrder(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one) < String(other) ? -1 : 1;
}
