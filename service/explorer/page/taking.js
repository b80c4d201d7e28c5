// The way from a picture of any kind to the point that the page shows: a file is taken, a drawing is followed.
// Knows nothing of how pictures are chosen or shown.

import { useEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { newest, request, sendForJson, useAnswer } from "./api.js";
import { set } from "./state.js";

const MOST_IN_ADDRESS = 12 * 1024; // characters of a picture

const large = new WeakMap(); // home -> its picture, where that is too large for an address
const making = new WeakSet(); // points of drawings that are not finished
const drawnHere = new Set();
const MOST_FILES = 5;
const files = []; // the newest, as they came: {x, body, isInverted}. A file is inverted before bars are added, which x has

export const bytesOf = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

/** The parameters for a picture that is as the model sees it already: it must not be inverted once more. */
export const asSeen = (model) => ({ model: model.name, invert: model.preprocessing.invert === "no" ? null : "no" });

/** How files are inverted: most of them are dark on light, and few models are. What has colours is rather left as it is. */
export const inversionOf = ({ preprocessing, shape }) => (preprocessing.invert === "no" && shape[2] === 1 ? "auto" : null);

/** The picture that the sliders start from, base64 of a PNG. */
export const pictureOf = (state) => state.x ?? large.get(state.home) ?? null;

const encodeRequest = (model, body) => request("encode", { query: { ...asSeen(model), include: "kl,kl_per_dim" }, body });
const isInTheMaking = (state) => !state.x && making.has(state.z);

/**
 * The picture of the page and what the encoder says of it, and the two ways to another one:
 * `take(bytes, options)` a picture in any format and size, and `draw(npy, isFirst)` one that changes under the pointer. What
 * is newer wins. Options of take: `isFirst`, only as long as no point is chosen; `isSeen`, it is as the model sees it;
 * `isDrawn`, it was drawn here; `isFile`, it is inverted if it looks like that; `invert`, "yes" or "no", whatever it looks like.
 */
export function usePicture(model, state) {
  const isMade = isInTheMaking(state);
  const x = isMade ? null : pictureOf(state);
  const [own, setOwn] = useState(null); // what was said of the newest picture: {mu, posterior, asked, warnings}
  const [error, setError] = useState(null);
  const isOwn = own !== null && own.mu === (isMade ? state.z : state.home);
  const asked = useMemo(() => (x && !isOwn ? encodeRequest(model, bytesOf(x)) : null), [x, isOwn, model]);
  const encoded = useAnswer(asked); // after a reload, or an undo
  const current = useRef(state);
  current.current = state;
  const count = useRef(0); // of the pictures that were begun
  useEffect(() => () => void count.current++, []);
  const ways = useMemo(() => {
    const show = (found, changes, undoable = true) => {
      setError(null);
      setOwn(found);
      set({ z: found.mu, ...changes }, { undoable: undoable && !isInTheMaking(current.current) }); // a stroke is one step to undo
    };
    const follow = async (npy, number) => {
      const asked = encodeRequest(model, npy);
      const posterior = await sendForJson(asked);
      if (number !== count.current) return;
      // The home of the sliders waits for the end of the stroke, since much depends on it.
      const [mu] = posterior.mu;
      making.add(mu);
      show({ mu, posterior, asked, warnings: [] }, { x: null });
    };
    const bring = async (body, { isFirst, isDrawn, isSeen, isFile, invert }, number) => {
      const look = (invert) => sendForJson(request("reconstruct", { query: { model: model.name, invert, compare: true }, body }));
      const how = invert ?? (isDrawn || isSeen ? asSeen(model).invert : isFile ? inversionOf(model) : null);
      const seen = await look(how);
      const [x] = seen.originals;
      const isInverted = isFile && how !== "no" && (await look("no")).originals[0] !== x && how;
      const asked = encodeRequest(model, bytesOf(x));
      const posterior = await sendForJson(asked);
      if (number !== count.current || (isFirst && current.current.z)) return;
      if (isDrawn) drawnHere.add(x);
      if (isFile) files.splice(0, files.length + 1 - MOST_FILES);
      if (isFile) files.push({ x, body, isInverted });
      const warnings = [...(seen.warnings ?? []), ...(posterior.warnings ?? [])];
      const fits = x.length <= MOST_IN_ADDRESS;
      const [mu] = posterior.mu;
      if (!fits) large.set(mu, x);
      show({ mu, posterior, asked, warnings }, { home: mu, x: fits ? x : null }, !isFirst);
    };
    const next = newest((way, ...values) => way(...values), () => {}, setError);
    return {
      draw: (npy, isFirst) => next(follow, npy, isFirst ? ++count.current : count.current),
      take: (body, options = {}) => {
        if (options.isFirst && count.current) return; // the visitor was faster
        next(bring, body, options, options.isDrawn ? count.current : ++count.current);
      },
    };
  }, [model]);
  const file = x && files.findLast((one) => one.x === x);
  const invert = () => {
    if (file) ways.take(file.body, { isFile: true, invert: file.isInverted ? "no" : "yes" });
    else ways.take(bytesOf(x), { isDrawn: drawnHere.has(x), invert: "yes" });
  };
  const clear = () => {
    count.current++;
    making.delete(state.z);
    large.delete(state.home);
    setOwn(null);
    if (x) set({ x: null });
  };
  useEffect(() => {
    // A link may have a picture without a point.
    if (!state.z && x && encoded.answer) set({ z: encoded.answer.mu[0], home: encoded.answer.mu[0] }, { undoable: false });
  }, [encoded.answer]);
  return {
    x, isMade, ...ways, invert, clear,
    isInverted: file?.isInverted,
    isDrawnHere: isMade || drawnHere.has(x),
    posterior: isOwn ? own.posterior : encoded.answer,
    asked: isOwn ? own.asked : asked,
    warnings: details(isOwn ? own.warnings : (encoded.answer?.warnings ?? [])),
    error: error ?? encoded.error,
  };
}

/** What warnings say, once for each kind: the first, which is of the picture as it came. */
const details = (warnings) => [...new Map(warnings.toReversed().map((one) => [one.code, one.detail])).values()].toReversed();

/** Take files that are pasted, or dropped where nothing else takes them. Without this the browser would leave the page. */
export function useFilesFromAnywhere(onFile) {
  useEffect(() => {
    const over = (event) => event.dataTransfer.types.includes("Files") && event.preventDefault();
    const use = (event) => {
      const file = (event.dataTransfer ?? event.clipboardData)?.files[0];
      if (!file || event.defaultPrevented) return;
      event.preventDefault();
      onFile(file);
    };
    addEventListener("dragover", over);
    addEventListener("drop", use);
    addEventListener("paste", use);
    return () => {
      removeEventListener("dragover", over);
      removeEventListener("drop", use);
      removeEventListener("paste", use);
    };
  }, [onFile]);
}
