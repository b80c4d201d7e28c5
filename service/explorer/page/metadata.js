// The key of a collection's metadata whose values are few enough to choose from.
// Knows nothing of what is made of it.

import { useMemo } from "./vendor/preact-htm.js";
import { collectionPath, request, useAnswer } from "./api.js";
import { brief } from "./controls.js";

const MOST_VALUES = 12;
const SAMPLE = 1000;
const MOST_KEYS = 8;

const LONGEST_KEY = 200;

/** Whether the service can be asked for the values of a key: in requests, keys are separated by commas. */
export const canBeAsked = (key) => key !== "" && !/^ | $|[,\0]/.test(key) && [...key].length <= LONGEST_KEY;

/** {key, values}: "label" if there is such a key, else the first of the keys that is like this; the key is null if none is. */
export function useCommonKey(collection) {
  const first = useAnswer(request(`${collectionPath(collection)}/items`, { query: { limit: 1 } })).answer?.items[0];
  const keys = Object.keys(first?.metadata ?? {}).filter(canBeAsked).sort((one, other) => (other === "label") - (one === "label")).slice(0, MOST_KEYS);
  const dims = "0,1"; // the points themselves are not used, and this plane costs nothing
  const sample = useAnswer(keys.length && collection.latent_dim > 1 ? request(`${collectionPath(collection)}/map`, { query: { dims, keys: keys.join(","), limit: SAMPLE } }) : null);
  return useMemo(() => {
    const found = sample.answer?.metadata ?? {};
    const values = (key) => [...new Set((Object.hasOwn(found, key) ? found[key] : []).filter((value) => value !== null && typeof value !== "object"))].sort(inOrder);
    const isChoice = (key) => values(key).length > 1 && values(key).length <= MOST_VALUES;
    const key = keys.find(isChoice) ?? null;
    return { key, values: key === null ? [] : values(key) };
  }, [sample.answer]);
}

/** A value as people write it. */
export const plain = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** Metadata in words: "label 7, hand left". */
export const describe = (metadata) => Object.entries(metadata).map(([key, value]) => `${brief(key)} ${brief(plain(value))}`).join(", ");

const inOrder = (one, other) => (typeof one === "number" && typeof other === "number" ? one - other : String(one) < String(other) ? -1 : 1);
