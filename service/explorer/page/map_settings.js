// The controls of the map: its plane, its colours with their legend, and what is shown.
// Knows nothing of canvases.

import { html } from "./vendor/preact-htm.js";
import { brief } from "./controls.js";
import { SELDOM } from "./density.js";
import { NO_KEY, dimsOf, telling } from "./map_items.js";
import { Dashes, METHODS } from "./methods.js";
import { Row } from "./row.js";
import { set } from "./state.js";

const LAYERS = { pictures: "pictures", points: "dots" }; // name in the address: on the page

/** The plane, the key that colours the dots, and the buttons. */
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
  const chooseColor = (event) => set({ color: event.target.value, highlight: null });
  const hide = (layer) => {
    const left = Object.keys(LAYERS).filter((one) => hidden.includes(one) !== (one === layer));
    set({ hide: left.join() || null }, { undoable: false });
  };
  const all = Array.from({ length: model.latent_dim }, (_, i) => i);
  return html`<div class="row">
    ${model.latent_dim > 2 && collection && html`<label>plane <select data-testid="map-plane" onChange=${choosePlane}>
      <option value="pca" selected=${!dims}>best view (principal components)</option>
      <option value="dims" selected=${Boolean(dims)}>two dimensions</option>
    </select></label>`}
    ${model.latent_dim > 2 && dims && ["x axis", "y axis"].map((name, place) => html`
      <label>${name} <select data-testid="map-dim-${place}" onChange=${chooseDim(place)}>
        ${all.map((one) => html`<option value=${one} selected=${one === dims[place]}>${one}</option>`)}
      </select></label>`)}
    ${items.keys.length > 0 && html`<label>colour <select data-testid="map-color" onChange=${chooseColor}>
      ${items.keys.map((key) => html`<option value=${key} selected=${key === items.color}>${brief(key)}</option>`)}
      <option value=${NO_KEY} selected=${items.color === null}>none</option>
    </select></label>`}
    ${items.leftOut > 0 && html`<span class="hint" data-testid="map-left-out">
      ${items.leftOut === 1 ? "One key is" : `${items.leftOut} keys are`} left out: the service can be asked only for keys of 1 to 200
      characters without commas, and without spaces at their ends.
    </span>`}
    ${Object.entries(LAYERS).map(([layer, name]) => html`<label>
      <input type="checkbox" data-testid="map-${layer}-shown" checked=${!hidden.includes(layer)} onChange=${() => hide(layer)} />
      ${" "}${name}
    </label>`)}
    <span class="row">
      <button data-testid="map-zoom-in" aria-label="zoom in" onClick=${() => zoom(1.5)}>+</button>
      <button data-testid="map-zoom-out" aria-label="zoom out" onClick=${() => zoom(1 / 1.5)}>−</button>
      <button data-testid="map-reset" title="show all dots (key 0)" onClick=${() => set({ view: null }, { undoable: false })}>show all</button>
      <button data-testid="map-lasso" title="draw a line around dots, the lasso (key l)" aria-pressed=${isLasso}
        onClick=${() => setLasso(!isLasso)}>select an area</button>
    </span>
  </div>`;
}

/** What the colours, the hatching and the lines mean. A click on a value shows its dots alone. */
export function Legend({ model, collection, unread, state, items, paths }) {
  return html`<div class="legend" data-testid="map-legend">
    ${items.color !== null && items.values?.length > 0 && html`<${Colors} state=${state} items=${items} />`}
    ${items.density && html`<${NoData} density=${items.density} />`}
    ${items.ids && !items.density && !items.error && html`<p class="hint">
      ${items.ids.length > 1 ? "Finding out where there is data …" : "Too few items to say where there is data."}
    </p>`}
    ${!collection && html`<p class="hint">
      ${unread ? "The collections of this model cannot be read." : "No collection is chosen."} So the dots are random points of the
      prior, and where there is data is not known. Circles: standard deviations of the prior, N(0, I).</p>`}
    ${paths.length > 0 && html`<div class="row" data-testid="map-paths"><span>paths from A to B:</span>
      ${paths.map(({ method }) => html`<span key=${method}><${Dashes} method=${method} /> ${METHODS[method].title}</span>`)}
    </div>`}
    ${model.latent_dim > 2 && items.plane && html`<p class="hint">${planeWords(items.plane, model)}</p>`}
  </div>`;
}

function Colors({ state, items }) {
  const toggle = (name) => set({ highlight: name === state.highlight ? null : name }, { undoable: false });
  return html`<${Row} class="row" role="group" aria-label="colours: ${items.color}">
    <span title=${items.color}>${brief(items.color)}</span>
    ${items.classes.map(({ name, color, count }) => html`<button key=${name} data-testid="map-class-${name}"
      aria-pressed=${name === state.highlight} title="${name}: ${count} items; click to show them alone"
      onClick=${() => toggle(name)}>
      <span class="swatch" style="background:${color}" />${brief(name)}
    </button>`)}
  </${Row}>`;
}

function NoData({ density }) {
  return html`
    <div class="row explained"><span class="swatch empty" /><span><strong>no data</strong>: fewer than about ${SELDOM} items lie in all
      that is hatched. Pictures fade to grey towards it; what the model draws there is invented.</span></div>
    ${density.holes.some(Boolean) && html`<div class="row explained"><span class="swatch hole" /><span><strong>hole</strong>: no data,
      but samples from the prior come from here, too.</span></div>`}`;
}

function planeWords({ explained, origin }, { latent_dim: dim }) {
  const share = explained && Math.round(100 * (explained[0] + explained[1]));
  const shown = explained ? `${share} % of the differences between the latents of the items` : `two of ${dim} dimensions`;
  const rest = origin.some(Boolean) ? "their average" : "0";
  return `This view shows ${shown}; the other dimensions are held at ${rest}. So a place with data on the map may be far from all
    items in the others, and a place without may not be: the card at the pointer tells both.`;
}
