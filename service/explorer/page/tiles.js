// The decoded grid behind the points of the map: a lattice of latents, decoded by one request.
// Knows nothing of the points.

import { useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { newest, request, useAskAgain } from "./api.js";
import { readPictures } from "./decoded.js";
import { isWide, shown } from "./kinds.js";
import { writeNpy } from "./npy.js";
import { lattice, lift } from "./plane.js";

const PAUSE = 120; // milliseconds without a change of the view, after which the grid is decoded
const LEAST = 32; // CSS pixels of a tile, and of a larger picture:
const LEAST_LARGE = 48;
const LEAST_WIDE = 128; // of what has letters

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
      const tiles = { canvas: tiled(pictures, grid, isWide(model)), lattice: grid, plane: of };
      setFound({ tiles, view: seen, asked, error: null });
    },
    (error, asked, grid, of, seen) => setFound((before) => ({ ...before, view: seen, asked, error })),
  );
  useAskAgain((isAll) => (isAll || found.error) && setAttempt((count) => count + 1));
  useEffect(() => {
    if (!plane || !view) return;
    const timer = setTimeout(() => {
      const grid = lattice(view, isWide(model) ? LEAST_WIDE : model.shape[0] > LEAST ? LEAST_LARGE : LEAST);
      const latents = grid.middles.map(([x, y]) => lift(plane, x, y));
      const sent = { query: shown(model), body: npy(latents), accept: "application/x-npy" };
      ask.current(request("decode", sent), grid, plane, view);
    }, PAUSE);
    return () => clearTimeout(timer);
  }, [model.name, plane, view, attempt]);
  return found;
}

/** Rows of numbers as npy of float32. */
const npy = (rows) => writeNpy("<f4", [rows.length, rows[0].length], new Uint8Array(Float32Array.from(rows.flat()).buffer));

/** A canvas with decoded pictures (ImageData) as the tiles of a lattice; tiles are square, so `isWide` ones get bars. */
function tiled(pictures, { columns, rows }, isWide) {
  const { width, height } = pictures[0];
  const side = Math.max(width, height);
  const [across, down] = isWide ? [side, side] : [width, height];
  const canvas = Object.assign(document.createElement("canvas"), { width: across * columns, height: down * rows });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  if (isWide) context.fillRect(0, 0, canvas.width, canvas.height);
  const [left, top] = [(across - width) / 2, (down - height) / 2].map(Math.floor);
  pictures.forEach((one, i) => context.putImageData(one, (i % columns) * across + left, Math.floor(i / columns) * down + top));
  return canvas;
}
