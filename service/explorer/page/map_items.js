// What the map shows: the items of a collection on a plane with their density, or random points of the prior.
// Knows nothing of canvases.

import { useMemo } from "./vendor/preact-htm.js";
import { collectionPath, request, useAnswer } from "./api.js";
import { classesOf, oneClass } from "./colors.js";
import { Density, planeBandwidth } from "./density.js";
import { shown } from "./kinds.js";
import { canBeAsked, useCommonKey } from "./metadata.js";
import { endsOf, planeOfDims, project } from "./plane.js";

export const NO_KEY = "-"; // of the field color: one colour for all
const DRAWS = 200;

/** The two dimensions of a plane, or null for the principal components of a collection. */
export function dimsOf(model, collection, state) {
  if (model.latent_dim === 2) return [0, 1];
  const dims = state.plane.split(",").map(Number);
  const isDim = (one) => Number.isInteger(one) && one >= 0 && one < model.latent_dim;
  const isGood = dims.length === 2 && dims[0] !== dims[1] && dims.every(isDim);
  return isGood ? dims : collection ? null : telling(model);
}

/** The two dimensions that say most of a picture, by the KL that the model's card has of each. */
export function telling({ latent_dim, metrics }) {
  const kl = metrics?.kl_per_dim ?? [];
  const all = Array.from({ length: latent_dim }, (_, i) => i);
  return all.sort((one, other) => (kl[other] ?? 0) - (kl[one] ?? 0)).slice(0, 2);
}

/**
 * The dots: {plane, points as [x0, y0, x1, ...], ids, z and images of random points, keys, leftOut, color, values, classes, ends,
 * hasDensity, density, asked, error}. Without an answer yet, plane is null.
 */
export function useItems(model, collection, state) {
  const dims = dimsOf(model, collection, state);
  const path = collection && collectionPath(collection);
  const plane = { dims: dims?.join(",") };
  const { keys, leftOut, key, isKnown } = useCommonKey(collection);
  const wanted = state.color && canBeAsked(state.color) ? state.color : null;
  const color = wanted === NO_KEY ? null : (wanted ?? key ?? keys[0] ?? null);
  const isReady = wanted || isKnown || keys.length === 1;
  const draws = request("sample", { query: { ...shown(model), n: DRAWS, seed: state.seed, include: "z" } });
  const map = path && isReady ? request(`${path}/map`, { query: { ...plane, keys: color } }) : null;
  const { answer, error, asked } = useAnswer(path ? map : draws);
  const hasDensity = path && answer?.count > 1;
  const cells = { density: dims ? 128 : 64, bandwidth: hasDensity ? planeBandwidth(collection.count) : null };
  const dense = useAnswer(hasDensity ? request(`${path}/map`, { query: { ...plane, ...cells } }) : null);
  const density = useMemo(() => dense.answer && new Density(dense.answer), [dense.answer]);
  const isOfThis = density && answer?.plane && String(dense.answer.plane.dims) === String(answer.plane.dims);
  const found = useMemo(() => answer && (answer.plane ? itemsOf(answer, color) : drawsOf(answer, dims)), [answer, dims?.join()]);
  const none = { plane: null, points: new Float32Array(0), classes: [], of: [] };
  const more = { keys, leftOut, color, hasDensity, density: isOfThis ? density : null };
  return { ...none, ...found, ...more, asked: [asked, dense.asked], error: error ?? dense.error };
}

function itemsOf(answer, color) {
  const points = Float32Array.from(answer.points.flat());
  const values = answer.metadata && Object.hasOwn(answer.metadata, color) ? answer.metadata[color] : null;
  const classes = values ? classesOf(values) : oneClass(answer.ids.length);
  return { plane: answer.plane, points, ids: answer.ids, values, ...classes, ends: endsOf(points) };
}

function drawsOf({ z, images }, dims) {
  const plane = planeOfDims(...dims, z[0].length);
  const points = Float32Array.from(z.flatMap((one) => project(plane, one)));
  return { plane, points, ids: null, z, images, values: null, ...oneClass(z.length), ends: endsOf(points, 7) };
}
