// The way from a picture of any kind to the point that the page shows: a file is taken, a drawing is followed.
// Knows nothing of how pictures are chosen or shown.

import { useEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { newest, request, sendForJson, useAnswer, useAskAgain } from "./api.js";
import { asX, contentOf, isPictures, worded } from "./kinds.js";
import { asSeen, inversionOf } from "./model.js";
import { isSame } from "./numbers.js";
import { set } from "./state.js";

const NO_PICTURE = "This file is not a picture (PNG, JPEG, WebP, GIF, BMP or TIFF).";
const UNSUPPORTED = 415;
const JSON_BEGINS = ["{", "["];
const MOST_FILES = 9;
// The newest files, and drawings that are no pictures, as they came: {x, content, isInverted}. A file is inverted before bars are
// added, which x has; a drawing is brought to the usual size.
const files = [];

const encodeRequest = (model, content) => request("encode", { query: { ...asSeen(model), include: "kl,kl_per_dim" }, ...content });

/** Whether z is the point of a drawing that is not finished. */
const isInTheMaking = ({ draft, z }) => Boolean(draft && z) && isSame(draft, z);

/**
 * The item of the page, such as a picture, and what the encoder says of it, and the two ways to another one: `take(given, options)`
 * an item x as the model sees it, or {body} or {json} in any format and size, and `draw(content, isFirst)` one that changes under the
 * pointer. What is newer wins. Options of take: `isFirst`, only as long as no point is chosen; `isDrawn`, it was drawn or typed here;
 * `goesOn`, it is no new step to undo; `isFile`, it is inverted if it looks like that; `invert`, "yes" or "no", whatever it looks like.
 */
export function usePicture(model, state) {
  const isMade = isInTheMaking(state);
  const x = state.x ?? null;
  const [own, setOwn] = useState(null); // what was said of the newest picture: {x, mu, posterior, asked, warnings}
  const [error, setError] = useState(null);
  const failed = useRef(null); // what was asked for, if that failed
  const isOwn = own !== null && (isMade ? own.mu === state.draft : x !== null && own.x === x);
  const asked = useMemo(() => (x && !isOwn ? encodeRequest(model, contentOf(model, x)) : null), [x, isOwn, model]);
  const encoded = useAnswer(asked); // after a reload, or an undo
  const current = useRef(state);
  current.current = state;
  const count = useRef(0); // of the pictures that were begun
  useEffect(() => () => void count.current++, []);
  const ways = useMemo(() => {
    const show = (found, changes, undoable = true) => {
      failed.current = null;
      setError(null);
      setOwn(found);
      set({ z: found.mu, ...changes }, { undoable: undoable && !isInTheMaking(current.current) }); // a stroke is one step to undo
    };
    const follow = async (content, number) => {
      const asked = encodeRequest(model, content);
      const posterior = await sendForJson(asked);
      if (number !== count.current) return;
      // The start of the sliders waits for the end of the stroke, since much depends on it.
      const [mu] = posterior.mu;
      show({ mu, posterior, asked, warnings: [] }, { x: null, draft: mu });
    };
    const bring = async (given, { isFirst, isDrawn, goesOn, isFile, invert }, number) => {
      const how = !isPictures(model) ? null : (invert ?? (isDrawn ? asSeen(model).invert : isFile ? inversionOf(model) : null));
      const seen = typeof given === "string" ? { originals: [given] } : await see(model, given, how);
      const [x] = seen.originals;
      const isInverted = isFile && how && how !== "no" && (await see(model, given, "no")).originals[0] !== x && how;
      const asked = encodeRequest(model, contentOf(model, x));
      const posterior = await sendForJson(asked);
      if (number !== count.current || (isFirst && current.current.z)) return;
      if (isFile || given.json) {
        files.splice(0, files.length + 1 - MOST_FILES);
        files.push({ x, content: given, isInverted });
      }
      const warnings = [...(seen.warnings ?? []), ...(posterior.warnings ?? [])];
      const [mu] = posterior.mu;
      show({ x, mu, posterior, asked, warnings }, { home: mu, x, draft: null, drawn: isDrawn ? x : null }, !isFirst && !goesOn);
    };
    const next = newest(
      (way, ...values) => way(...values),
      () => {},
      (error, ...values) => {
        failed.current = values;
        setError(error);
      },
    );
    return {
      draw: (content, isFirst) => next(follow, content, isFirst ? ++count.current : count.current),
      take: (given, options = {}) => {
        if (options.isFirst && count.current) return; // the visitor was faster
        next(bring, given, options, options.isDrawn ? count.current : ++count.current);
      },
      again: () => failed.current && next(...failed.current),
    };
  }, [model]);
  useAskAgain(() => ways.again());
  const isDrawnHere = isMade || (x !== null && state.drawn === x);
  const file = x && files.findLast((one) => one.x === x);
  const invert = () => {
    if (file) ways.take(file.content, { isFile: true, invert: file.isInverted ? "no" : "yes" });
    else ways.take(contentOf(model, x), { isDrawn: isDrawnHere, invert: "yes" });
  };
  const clear = () => {
    count.current++;
    if (x || isMade) set({ x: null, draft: null });
  };
  useEffect(() => {
    // A link may have a picture without a point.
    if (!state.z && x && encoded.answer) set({ z: encoded.answer.mu[0], home: encoded.answer.mu[0] }, { undoable: false });
  }, [encoded.answer]);
  return {
    x, isMade, isDrawnHere, invert, clear,
    draw: ways.draw,
    take: ways.take,
    isInverted: file?.isInverted,
    source: file?.content,
    posterior: isOwn ? own.posterior : encoded.answer,
    asked: isOwn ? own.asked : asked,
    warnings: details(isOwn ? own.warnings : (encoded.answer?.warnings ?? [])),
    error: error ?? encoded.error,
  };
}

/** What the model sees of an item: {originals, of which each is an x, warnings}. */
async function see(model, content, invert) {
  if (isPictures(model) && JSON_BEGINS.includes(String.fromCharCode(content.body[0]))) throw new Error(NO_PICTURE);
  try {
    const answer = await sendForJson(request("reconstruct", { query: { ...asSeen(model), invert, compare: true }, ...content }));
    const originals = asX(model, answer.originals);
    const more = originals.length > 1 ? [{ code: "several", detail: several(model, originals.length) }] : [];
    return { originals, warnings: [...(answer.warnings ?? []), ...more] };
  } catch (error) {
    throw error.status === UNSUPPORTED && isPictures(model) ? new Error(NO_PICTURE) : error;
  }
}

const several = (model, count) => worded(model, `The file has ${count} pictures, of which this is the first.`);

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
