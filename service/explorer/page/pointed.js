// The card beside the map: the picture that is decoded at the pointer, how much data there is, and the nearest stored item.
// Knows nothing of the canvas.

import { html, useLayoutEffect, useRef } from "./vendor/preact-htm.js";
import { collectionPath, request, useAnswer } from "./api.js";
import { brief, Copy, Thumb, Trouble, useResting } from "./controls.js";
import { bandwidthOf } from "./density.js";
import { isLittle, useLevel } from "./density_level.js";
import { lift, nearest } from "./plane.js";

const MOMENT = 250; // milliseconds at rest, after which the nearest item is asked for
const MOST_SHOWN = 6; // values of metadata

export function Pointed({ model, collection, items, at, picture, decoded }) {
  const canvas = useRef(null);
  const resting = useResting(at, MOMENT);
  useLayoutEffect(() => {
    if (picture) canvas.current.getContext("2d").drawImage(picture, 0, 0);
  }, [picture]);
  const isAsking = collection && resting && items.plane;
  const found = useAnswer(isAsking ? searchRequest(collection, items, resting) : null);
  // Where the map shows all dimensions, it says all.
  const levels = useLevel(model.latent_dim > 2 && items.hasDensity ? collection : null);
  const asking = isAsking && levels.level !== null ? densityRequest(collection, items.plane, resting) : null;
  const dense = useAnswer(asking);
  const isOfThis = dense.answer && dense.asked.body === asking?.body;
  const neighbor = !resting ? null : collection ? found.answer?.neighbors[0] : randomPointAt(items, resting);
  const [height, width] = model.shape;
  return html`<div class="map-card" role="group" aria-label="At the pointer">
    <div>
      <h3>At the pointer</h3>
      <canvas ref=${canvas} width=${width} height=${height} role="img" aria-label="decoded picture at the pointer"
        data-testid="map-pointer" />
      <div role="status" data-testid="map-words">
        <p>${resting ? placeWords(items.density, resting) : "Point at the map."}</p>
        ${isOfThis && html`<p>${spaceWords(dense.answer.log_density[0], levels.level, model)}</p>`}
      </div>
    </div>
    <div data-testid="map-nearest">
      ${neighbor && html`<h3>${collection ? "Nearest item" : "Nearest random point"}</h3>
        <${Thumb} image=${neighbor.image} z=${neighbor.mu} item=${collection && neighbor.id} label=${collection ? `item ${neighbor.id}` : neighbor.id}
          testid="map-nearest-item" />
        <p class="id" title=${neighbor.id}>${brief(collection ? `item ${neighbor.id}` : neighbor.id)}</p>
        <dl>${Object.entries(neighbor.metadata).slice(0, MOST_SHOWN).map(([key, value]) => html`<div>
          <dt title=${key}>${brief(key)}</dt><dd>${brief(typeof value === "string" ? value : JSON.stringify(value))}</dd>
        </div>`)}</dl>`}
    </div>
    <${Trouble} error=${decoded.error ?? found.error ?? dense.error} />
    <${Copy} asked=${[decoded.asked, found.asked, levels.asked, dense.asked]} testid="map-pointer-copy" />
  </div>`;
}

/** What lies at this place of the map, whatever it is in other dimensions. */
function placeWords(density, { x, y }) {
  const place = `${x.toFixed(2)}, ${y.toFixed(2)}`;
  return density ? `${place}: ${density.words(x, y)} in this part of the map` : place;
}

/** How near the point is to the data in all dimensions: the words of the paths, by the same level. */
function spaceWords(logDensity, level, { latent_dim: dim }) {
  return `In all ${dim} dimensions: ${isLittle(logDensity, level) ? "little data" : "near the data"}`;
}

/** The item under the pointer itself, or the one that is nearest in latent space to the point of the plane. */
function searchRequest(collection, { plane, ids }, { x, y, item }) {
  const query = item >= 0 && ids ? { id: ids[item] } : { mu: lift(plane, x, y) };
  const json = { ...query, k: 1, metric: "l2", include: ["image", "mu"] };
  return request(`${collectionPath(collection)}/search`, { json });
}

function densityRequest(collection, plane, { x, y }) {
  const json = { mu: lift(plane, x, y), k: 1, bandwidth: bandwidthOf(collection) };
  return request(`${collectionPath(collection)}/density`, { json });
}

function randomPointAt({ points, z, images }, { x, y }) {
  const i = nearest(points, x, y);
  return i < 0 || !z ? null : { id: `random point ${i}`, mu: z[i], image: images[i], metadata: {} };
}
