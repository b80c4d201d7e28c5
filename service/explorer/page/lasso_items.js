// What the lasso of the map has chosen: how many items, of which values, and pictures of some.
// Knows nothing of the canvas.

import { html, useMemo } from "./vendor/preact-htm.js";
import { collectionPath, request, useAnswer } from "./api.js";
import { brief, Copy, Thumb, Trouble } from "./controls.js";
import { spread } from "./plane.js";
import { Row } from "./row.js";
import { set } from "./state.js";

const MOST_PICTURES = 24;

export function LassoItems({ collection, items, chosen }) {
  const some = useMemo(() => spread(chosen, MOST_PICTURES), [chosen]);
  const asked = collection && some.length ? searchRequest(collection, items, some) : null;
  const { answer, error } = useAnswer(asked);
  const stored = (answer?.results ?? []).map(({ neighbors }) => neighbors[0]).filter(Boolean);
  const shown = collection ? stored : some.map((i) => ({ id: `random point ${i}`, mu: items.z[i], image: items.images[i] }));
  const counts = items.classes.map(({ name, color }) => ({ name, color, count: 0 }));
  for (const i of chosen) counts[items.of[i]].count++;
  const found = counts.filter(({ count }) => count).sort((one, other) => other.count - one.count);
  return html`<div class="chosen" data-testid="map-chosen">
    <div class="row">
      <strong role="status" data-testid="map-chosen-count">${chosen.length} ${collection ? "items" : "random points"} in the area</strong>
      ${items.values && found.map(({ name, color, count }) => html`<span key=${name}>
        <span class="swatch" style="background:${color}" />${brief(name)}: ${count}
      </span>`)}
      <button data-testid="map-lasso-clear" onClick=${() => set({ lasso: null })}>clear</button>
    </div>
    <${Trouble} error=${error} />
    <${Row} class="row pictures" role="group" aria-label="pictures in the area">${shown.map((one, i) => html`
      <${Thumb} key=${one.id} image=${one.image} z=${one.mu} item=${collection && one.id} label=${collection ? `item ${one.id}` : one.id} testid="map-chosen-${i}" />`)}
    </${Row}>
    ${some.length < chosen.length && html`<p class="hint">${some.length} of ${chosen.length} pictures.</p>`}
    <${Copy} asked=${asked} testid="map-chosen-copy" />
  </div>`;
}

/** Each of some items, asked for as its own nearest one, with its picture. */
function searchRequest(collection, { ids }, some) {
  const queries = some.map((i) => ({ id: ids?.[i] }));
  const json = { queries, k: 1, metric: "l2", include: ["image", "mu"] };
  return request(`${collectionPath(collection)}/search`, { json });
}
