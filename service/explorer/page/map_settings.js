// The controls of the map: its plane, its colours with their legend, and what is shown.
// Knows nothing of canvases.

import { html } from "./vendor/preact-htm.js";
import { NO_KEY, dimsOf, telling } from "./map_items.js";
import { brief } from "./controls.js";
import { Row } from "./row.js";
import { set } from "./state.js";

const LAYERS = ["pictures", "points"];

/** The plane, the key that colours the points, and the buttons. */
export function Settings({ model, collection, state, items, isLasso, setLasso, zoom }) {
  const dims = dimsOf(model, collection, state);
  const hidden = state.hide?.split(",") ?? [];
  const anew = { view: null, lasso: null };
  const choosePlane = (event) => set({ ...anew, plane: event.target.value === "pca" ? "pca" : telling(model).join() });
  const chooseDim = (place) => (event) => {
    const chosen = dims.with(place, Number(event.target.value));
    if (chosen[0] === chosen[1]) chosen[1 - place] = dims[place]; // they change places
    set({ ...anew, plane: chosen.join() });
  };
  const hide = (layer) => set({ hide: LAYERS.filter((one) => hidden.includes(one) !== (one === layer)).join() || null }, { undoable: false });
  const all = Array.from({ length: model.latent_dim }, (_, i) => i);
  return html`<div class="row">
    ${model.latent_dim > 2 && collection && html`<label>plane <select data-testid="map-plane" onChange=${choosePlane}>
      <option value="pca" selected=${!dims}>principal components</option><option value="dims" selected=${Boolean(dims)}>two dimensions</option>
    </select></label>`}
    ${model.latent_dim > 2 && dims && ["across", "up"].map((name, place) => html`<label>${name} <select data-testid="map-dim-${place}" onChange=${chooseDim(place)}>
      ${all.map((one) => html`<option value=${one} selected=${one === dims[place]}>${one}</option>`)}
    </select></label>`)}
    ${items.keys.length > 0 && html`<label>colour <select data-testid="map-color" onChange=${(event) => set({ color: event.target.value, highlight: null })}>
      ${items.keys.map((key) => html`<option value=${key} selected=${key === items.color}>${brief(key)}</option>`)}
      <option value=${NO_KEY} selected=${items.color === null}>none</option>
    </select></label>`}
    ${items.leftOut > 0 && html`<span class="hint" data-testid="map-left-out">${items.leftOut === 1 ? "One key is" : `${items.leftOut} keys are`} left out: the service can be asked only for keys of 1 to 200 characters without commas, and without spaces at their ends.</span>`}
    ${LAYERS.map((layer) => html`<label><input type="checkbox" data-testid="map-${layer}-shown" checked=${!hidden.includes(layer)} onChange=${() => hide(layer)} /> ${layer}</label>`)}
    <span class="row">
      <button data-testid="map-zoom-in" aria-label="zoom in" onClick=${() => zoom(1.5)}>+</button>
      <button data-testid="map-zoom-out" aria-label="zoom out" onClick=${() => zoom(1 / 1.5)}>−</button>
      <button data-testid="map-reset" title="show all points" onClick=${() => set({ view: null }, { undoable: false })}>reset</button>
      <button data-testid="map-lasso" aria-pressed=${isLasso} onClick=${() => setLasso(!isLasso)}>lasso</button>
    </span>
  </div>`;
}

/** What the colours and the hatching mean. A click on a value shows its points alone. */
export function Legend({ model, collection, unread, state, items }) {
  const toggle = (name) => set({ highlight: name === state.highlight ? null : name }, { undoable: false });
  const hasHoles = items.density?.holes.some(Boolean);
  return html`<div class="legend" data-testid="map-legend">
    ${items.color !== null && items.values?.length > 0 && html`<${Row} class="row" role="group" aria-label="colours: ${items.color}">
      <span title=${items.color}>${brief(items.color)}</span>
      ${items.classes.map(({ name, color, count }) => html`<button key=${name} data-testid="map-class-${name}" aria-pressed=${name === state.highlight} title="${name}: ${count} items; click to show them alone" onClick=${() => toggle(name)}>
        <span class="swatch" style="background:${color}" />${brief(name)}
      </button>`)}
    </${Row}>`}
    ${items.density && html`<div class="row"><span class="swatch empty" /><span><strong>no data here</strong>: all that is hatched has fewer than 1 in 200 items. Pictures fade to grey towards it; what the model draws there is invented.</span></div>`}
    ${hasHoles && html`<div class="row"><span class="swatch hole" /><span><strong>hole</strong>: no data here, but samples from the prior come from here, too.</span></div>`}
    ${items.ids && !items.density && !items.error && html`<p class="hint">${items.ids.length > 1 ? "Finding out where there are data …" : "Too few items to say where there are data."}</p>`}
    ${!collection && html`<p class="hint">${unread ? "The collections of this model cannot be read." : "There is no collection for this model, and no training latents came with it."} So the dots are draws from its prior, and nobody can say where there are data. Circles: standard deviations of N(0, I).</p>`}
    ${model.latent_dim > 2 && items.plane && html`<p class="hint">${planeWords(items.plane, model)}</p>`}
  </div>`;
}

function planeWords({ explained, origin }, model) {
  const share = explained && Math.round(100 * (explained[0] + explained[1]));
  const rest = origin.some(Boolean) ? "at the mean of the items" : "0";
  return `The plane is ${explained ? `that of the first two principal components, with ${share} % of the variance` : "that of two dimensions"}. The map is a shadow: in the pictures behind the dots, all else of the ${model.latent_dim} dimensions is ${rest}.`;
}
