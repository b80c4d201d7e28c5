// What depends on the kind of a model: the words of the page, and how an item, the field x of the address, is sent.
// Knows nothing of the parts of the page.

import { fromBase64 } from "./base64.js";
import { isPoint } from "./numbers.js";

// kind -> one item, several, and the files that the page takes
const WORDS = {
  picture: ["picture", "pictures", "image/*"],
  strokes: ["drawing", "drawings", ".svg"],
  text: ["text", "texts", ".txt,text/plain"],
  table: ["row", "rows", ".csv"],
};
const wordsOf = ({ kind }) => WORDS[kind] ?? ["item", "items", ""];

export const isPictures = ({ kind }) => kind === "picture";
/** Whether items look like cards with letters, which need room. */
export const isWide = (model) => !isPictures(model) && model.shape[1] > 128;
export const filesOf = (model) => wordsOf(model)[2];

/** A sentence about pictures, with the words of the kind. */
export function worded(model, text) {
  const [one, several] = wordsOf(model);
  return text.replaceAll("pictures", several).replaceAll("picture", one);
}

/** The title of the part "Picture". */
export const titleOf = (model) => worded(model, "picture").replace(/^./, (letter) => letter.toUpperCase());

/** The parameters of a request whose answer shows items as pictures. */
export const shown = (model) => ({ model: model.name, label: model.label, view: isPictures(model) ? null : "picture" });

/** How the items of an answer are written as x: pictures as base64, others as JSON. */
export const asX = (model, items) => (isPictures(model) ? items : items.map((one) => JSON.stringify(one)));

/** What a request about an item has: the bytes of a picture, or JSON. */
export const contentOf = (model, x) => (isPictures(model) ? { body: fromBase64(x) } : { json: { [model.takes.one]: JSON.parse(x) } });

const FITTING = {
  strokes: (item) => Array.isArray(item) && item.length > 0 && item.every((point) => isPoint(point, 3)),
  text: (item) => typeof item === "string" && item !== "",
  table: (item) => !Array.isArray(item) && typeof item === "object",
};

/** Whether x, from an address or from another page, can be an item of the model; the service says whether it is. */
export function isItem(model, x) {
  const isJson = '[{"'.includes(x[0]); // which base64 never begins with
  return isPictures(model) ? !isJson : isJson && (FITTING[model.kind]?.(JSON.parse(x)) ?? true);
}
