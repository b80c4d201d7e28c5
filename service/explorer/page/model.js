// What several parts need to know of a model, by its entry in GET /models.
// Knows nothing of requests.

import { isPictures } from "./kinds.js";

const middles = {}; // number of dimensions -> the middle of the prior, the same list each time

/**
 * The points of the state: {z, home, start}. `z` is what all parts show, `home` the mu of the picture or of the item, or the
 * chosen point, by default the middle of the prior, and `start` where the sliders start.
 */
export function pointsOf(state, model) {
  const home = state.home ?? (middles[model.latent_dim] ??= Array(model.latent_dim).fill(0));
  return { z: state.z ?? home, home, start: state.start ?? home };
}

/** The dimensions, those that say most of a picture first: by the KL divergence that the model's card has of each. */
export function dimsByKl({ latent_dim: size, metrics }) {
  const kl = metrics?.kl_per_dim ?? [];
  return Array.from({ length: size }, (_, dim) => dim).sort((one, other) => (kl[other] ?? 0) - (kl[one] ?? 0));
}

/** How files are inverted: most of them are dark on light, and few models are. What has colours is rather left as it is. */
export const inversionOf = ({ preprocessing, shape }) => (preprocessing.invert === "no" && shape[2] === 1 ? "auto" : null);

/** The parameters for an item that is as the model sees it already: a picture must not be inverted once more. */
export function asSeen(model) {
  const isUsual = !isPictures(model) || model.preprocessing.invert === "no";
  return { model: model.name, invert: isUsual ? null : "no", label: model.label };
}
