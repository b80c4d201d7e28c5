// The directions that the sliders follow: dimensions by their KL, those of a collection, or local principal components.
// Knows nothing of what is drawn.

import { useMemo, useRef } from "./vendor/preact-htm.js";
import { collectionPath, directionPath, request, useAnswer } from "./api.js";
import { isPictures, shown } from "./kinds.js";
import { dimsByKl } from "./model.js";
import { shortest } from "./numbers.js";

const MOST = 8;

/**
 * The axes of a kind at a point: {axes, asked, error}, of which `asked` lists the requests that they come from. An axis is
 * {name, note, vector, unit}: a unit vector, and how far one step of the slider goes along it.
 */
export function useAxes(kind, model, collection, start) {
  const local = useAnswer(kind === "local" ? localRequest(model, start) : null);
  const named = useNamed(kind === "named" ? collection : null);
  const { answer, asked, error } = { top: { answer: model, asked: request("models") }, local, named }[kind];
  const axes = useMemo(() => (answer ? { top: topAxes, local: localAxes, named: namedAxes }[kind](answer, model) : []), [answer]);
  const shown = useRef([]); // until there are others, so that the page does not jump
  if (axes.length || error) shown.current = axes;
  return { axes: shown.current, asked: [asked].flat(), error };
}

/** The names of a collection's directions; none where it cannot have any. */
export function useNames(collection) {
  const { answer } = useAnswer(collection && request(`${collectionPath(collection)}/directions`));
  return answer?.directions.map((one) => one.name) ?? [];
}

function topAxes(model) {
  const kl = model.metrics?.kl_per_dim;
  return dimsByKl(model).slice(0, MOST).map((dim) => ({
    name: `dimension ${dim}`,
    note: kl ? `KL ${kl[dim].toFixed(2)} nats` : "",
    vector: Array.from({ length: model.latent_dim }, (_, i) => Number(i === dim)),
    unit: 1,
    dim,
  }));
}

// The pictures of a traversal are not used, so as few as possible are asked for.
const localRequest = (model, start) =>
  request("traverse", { query: { ...shown(model), dims: `local:${MOST}`, over: "point", steps: 2 }, json: { z: [start] } });

const localAxes = ({ rows }, model) =>
  rows.map(({ direction, change }, i) => {
    return { name: `local ${i + 1}`, note: isPictures(model) ? `changes the pixels by ${change.toFixed(1)} a unit` : "", vector: direction, unit: 1 };
  });

const separates = (auc) => (auc === null ? "" : `separates ${Math.floor(100 * auc)} % (AUC)`);
const namedAxes = (directions) => directions.map(({ name, vector, unit, auc }) => ({ name, note: separates(auc), vector, unit }));

function useNamed(collection) {
  const names = useNames(collection).slice(0, MOST);
  return useAnswer(names.length ? names.map((name) => request(directionPath(collection, name))) : null);
}

/** How many steps a point lies from the start along an axis. */
export function amountOf(z, start, { vector, unit }) {
  return vector.reduce((sum, value, i) => sum + value * (z[i] - start[i]), 0) / unit;
}

/** The point that lies some steps further along an axis: the start itself if it is that near. */
export function moved(z, start, { vector, unit }, steps) {
  const target = z.map((value, i) => shortest(value + steps * unit * vector[i]));
  return target.every((value, i) => Math.abs(value - start[i]) < 1e-6) ? start : target;
}

/** The percentage of N(0, 1) that lies below a value (Abramowitz & Stegun 7.1.26, within 0.00001). */
export function percentile(value) {
  const x = Math.abs(value) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * x);
  const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const half = 50 * (1 - series * Math.exp(-x * x));
  return value < 0 ? 50 - half : 50 + half;
}
