// The paths between A and B: their names in requests and on the page, and the dashes of their lines on the map.
// Knows nothing of their frames.

import { html } from "./vendor/preact-htm.js";

export const METHODS = {
  linear: { title: "straight line", about: "the shortest way in the latent space", dashes: [6, 4] },
  slerp: { title: "arc", about: "around the middle of the latent space", dashes: [2, 3] },
  matched: { title: "matched", about: "a line kept as far out as latents usually lie", dashes: [10, 3, 2, 3] },
  graph: { title: "through the data", about: "from item to item, by small changes of the picture", dashes: [] },
};

/** A piece of the line that a path is on the map. */
export const Dashes = ({ method }) => html`<svg class="dashes" viewBox="0 0 36 4" aria-hidden="true">
  <line x2="36" y1="2" y2="2" stroke-dasharray=${METHODS[method].dashes.join(" ")} />
</svg>`;
