// The decoded grid behind the points of the map: a lattice of latents, decoded by one request.
// Knows nothing of the points.

import { useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { newest, request, useAskAgain } from "./api.js";
import { readPictures } from "./decoded.js";
import { writeNpy } from "./npy.js";
import { lattice, lift } from "./plane.js";

const PAUSE = 120; // milliseconds without a change of the view, after which the grid is decoded
const LEAST = 32; // CSS pixels of a tile, and of a larger picture:
const LEAST_LARGE = 48;

/**
 * The tiles of a view: {tiles: {canvas, lattice, plane}, view, asked, error}. Those before are kept until they come. Null asks for
 * nothing.
 */
export function useTiles(model, plane, view) {
  const [found, setFound] = useState({ tiles: null, view: null, asked: null, error: null });
  const [attempt, setAttempt] = useState(0);
  const ask = useRef(null);
  ask.current ??= newest(
    (asked) => readPictures(asked),
    (pictures, asked, grid, of, seen) => {
      const tiles = { canvas: tiled(pictures, grid), lattice: grid, plane: of };
      setFound({ tiles, view: seen, asked, error: null });
    },
    (error, asked, grid, of, seen) => setFound((before) => ({ ...before, view: seen, asked, error })),
  );
  useAskAgain((isAll) => (isAll || found.error) && setAttempt((count) => count + 1));
  useEffect(() => {
    if (!plane || !view) return;
    const timer = setTimeout(() => {
      const grid = lattice(view, model.shape[0] > LEAST ? LEAST_LARGE : LEAST);
      const latents = grid.middles.map(([x, y]) => lift(plane, x, y));
      const sent = { query: { model: model.name }, body: npy(latents), accept: "application/x-npy" };
      ask.current(request("decode", sent), grid, plane, view);
    }, PAUSE);
    return () => clearTimeout(timer);
  }, [model.name, plane, view, attempt]);
  return found;
}

/** Rows of numbers as npy of float32. */
const npy = (rows) => writeNpy("<f4", [rows.length, rows[0].length], new Uint8Array(Float32Array.from(rows.flat()).buffer));

/** A canvas with decoded pictures (ImageData) as the tiles of a lattice. */
function tiled(pictures, { columns, rows }) {
  const { width, height } = pictures[0];
  const canvas = Object.assign(document.createElement("canvas"), { width: width * columns, height: height * rows });
  const context = canvas.getContext("2d");
  pictures.forEach((picture, i) => context.putImageData(picture, (i % columns) * width, Math.floor(i / columns) * height));
  return canvas;
}
