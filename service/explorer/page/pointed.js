// The card beside the map: the picture that is decoded at the pointer, and the nearest stored item.
// Knows nothing of the canvas.

import { html, useLayoutEffect, useRef } from "./vendor/preact-htm.js";
import { collectionPath, request, useAnswer } from "./api.js";
import { brief, Copy, Thumb, Trouble, useResting } from "./controls.js";
import { lift, nearest } from "./plane.js";

const MOMENT = 250; // milliseconds at rest, after which the nearest item is asked for
const MOST_SHOWN = 6; // values of metadata

export function Pointed({ model, collection, items, at, picture, decoded }) {
  const canvas = useRef(null);
  const resting = useResting(at, MOMENT);
  useLayoutEffect(() => {
    if (picture) canvas.current.getContext("2d").drawImage(picture, 0, 0);
  }, [picture]);
  const { answer, error, asked } = useAnswer(collection && resting && items.plane ? searchRequest(collection, items, resting) : null);
  const neighbor = !resting ? null : collection ? answer?.neighbors[0] : drawAt(items, resting);
  const [height, width] = model.shape;
  return html`<div class="map-card" role="group" aria-label="At the pointer">
    <div>
      <h3>At the pointer</h3>
      <canvas ref=${canvas} width=${width} height=${height} role="img" aria-label="decoded picture at the pointer" data-testid="map-pointer" />
      <p role="status" data-testid="map-words">${resting ? `${resting.x.toFixed(2)}, ${resting.y.toFixed(2)}${items.density ? `: ${items.density.words(resting.x, resting.y)}` : ""}` : "Point at the map."}</p>
    </div>
    <div data-testid="map-nearest">
      ${neighbor && html`<h3>${collection ? "Nearest item" : "Nearest draw"}</h3>
        <${Thumb} image=${neighbor.image} z=${neighbor.mu} item=${collection && neighbor.id} label=${neighbor.id} testid="map-nearest-item" />
        <p class="id" title=${neighbor.id}>${brief(neighbor.id)}</p>
        <dl>${Object.entries(neighbor.metadata).slice(0, MOST_SHOWN).map(([key, value]) => html`<div><dt title=${key}>${brief(key)}</dt><dd>${brief(typeof value === "string" ? value : JSON.stringify(value))}</dd></div>`)}</dl>`}
    </div>
    <${Trouble} error=${decoded.error ?? error} />
    <${Copy} asked=${[decoded.asked, asked]} testid="map-pointer-copy" />
  </div>`;
}

/** The item under the pointer itself, or the one that is nearest in latent space to the point of the plane. */
function searchRequest(collection, { plane, ids }, { x, y, item }) {
  const query = item >= 0 && ids ? { id: ids[item] } : { mu: lift(plane, x, y) };
  return request(`${collectionPath(collection)}/search`, { json: { ...query, k: 1, metric: "l2", include: ["image", "mu"] } });
}

function drawAt({ points, z, images }, { x, y }) {
  const i = nearest(points, x, y);
  return i < 0 || !z ? null : { id: `draw ${i}`, mu: z[i], image: images[i], metadata: {} };
}
