// The part "Directions": sliders through the point z, with the pictures that they lead to.
// Knows nothing of where the directions come from.

import { html, useLayoutEffect, useMemo, useRef } from "./vendor/preact-htm.js";
import { useAnswer } from "./api.js";
import { amountOf, moved, percentile, useAxes, useNames } from "./axes.js";
import { carries, Copy, Part, Trouble, useResting } from "./controls.js";
import { Decoded, decodeRequest, readPictures } from "./decoded.js";
import { HowToName } from "./how_to.js";
import { isSame, set } from "./state.js";
import { pictureOf } from "./taking.js";

const REACH = 3; // units, on both sides of home
const STEPS = Array.from({ length: 2 * REACH + 1 }, (_, i) => i - REACH);
const KINDS = { top: "dimensions", local: "local components", named: "named directions" };
const HINTS = {
  top: "Each slider moves z along one dimension; what says most about pictures comes first. A unit is a standard deviation of the prior, N(0, 1).",
  local: "Each slider moves z along a direction in which the picture changes most, seen from where the sliders start.",
  named: "Each slider moves z along a direction of the collection. A unit is a standard deviation of its items.",
};

export function Directions({ model, collection, unread, state }) {
  const origin = useMemo(() => Array(model.latent_dim).fill(0), [model.latent_dim]);
  const home = state.start ?? state.home ?? origin;
  const z = state.z ?? home;
  const names = useNames(collection);
  const kind = state.directions === "named" && !names.length ? "top" : KINDS[state.directions] ? state.directions : "top";
  const { axes, asked, error } = useAxes(kind, model, collection, home);
  const restingZ = useResting(z);
  const points = useMemo(() => axes.map((axis) => pointsAlong(axis, restingZ, home)), [axes, restingZ, home]);
  const previews = useMemo(() => (points.length ? decodeRequest(model, points.flat()) : null), [points]);
  const { answer: pictures, error: undrawn } = useAnswer(previews, readPictures);
  const start = pictureOf(state) && !state.start ? "mu" : "the start";
  const startHere = () => set({ start: z });
  return html`<${Part} id="directions" title="Directions" hint=${`${HINTS[kind]} Click a picture to go there.`}>
    <div class="row" role="radiogroup" aria-label="Directions">
      ${Object.entries(KINDS).map(([name, label]) => html`<label><input type="radio" name="directions" data-testid=${`directions-${name}`} checked=${kind === name} disabled=${name === "named" && !names.length} onChange=${() => set({ directions: name })} /> ${label}</label>`)}
      <button data-testid="directions-home" disabled=${isSame(z, home)} onClick=${() => set({ z: home })}>all back to ${start}</button>
      <button data-testid="directions-start" disabled=${isSame(z, home)} onClick=${startHere}>start from here</button>
    </div>
    <${Trouble} error=${error ?? undrawn} />
    ${kind === "named" && names.length > axes.length && axes.length > 0 && html`<p class="hint">These are the first ${axes.length} of ${names.length} directions.</p>`}
    <div class="directions">
      <figure>
        <button class="thumb" data-testid="directions-z" title="start from here (keys a and b: ends of the path)" aria-label="The picture of z: start from here" ...${carries(z)} onClick=${startHere}>
          <${Decoded} model=${model} z=${z} label="decoded z" testid="directions-canvas" />
        </button>
        <figcaption class="hint">z, decoded</figcaption>
      </figure>
      <div class="sliders">
        ${axes.map((axis, i) => html`<${Slider} key=${axis.name} ...${{ axis, z, home, start, model }} points=${points[i]} testid=${`directions-slider-${i}`} pictures=${pictures?.slice(i * STEPS.length, (i + 1) * STEPS.length)} />`)}
      </div>
    </div>
    ${!names.length && !(unread && !collection) && html`<${HowToName} model=${model} collection=${collection} />`}
    <${Copy} asked=${[...asked, previews, decodeRequest(model, [z])]} testid="directions-copy" />
  </${Part}>`;
}

function pointsAlong(axis, z, home) {
  const amount = amountOf(z, home, axis);
  return STEPS.map((step) => moved(z, home, axis, step - amount));
}

function Slider({ axis, z, home, start, model, points, pictures, testid }) {
  const drag = useRef(null); // where it began, and where it has led: a drag, or a key that is held, is one step to undo
  const isKeyDown = useRef(false);
  const amount = amountOf(z, home, axis);
  const goTo = (target, from = { z, amount }, options) => {
    const to = moved(from.z, home, axis, target - from.amount);
    set({ z: to }, options);
    return to;
  };
  const slide = (event) => {
    const goesOn = drag.current?.to === z;
    const from = goesOn ? drag.current : { z, amount };
    drag.current = { ...from, to: goTo(Number(event.target.value), from, { undoable: !goesOn }) };
  };
  const release = () => (drag.current = null);
  const keyDown = (event) => {
    isKeyDown.current = true;
    const target = { Home: 0, PageUp: Math.floor(amount + 1 + 1e-6), PageDown: Math.ceil(amount - 1 - 1e-6) }[event.key];
    if (target === undefined) return;
    event.preventDefault(); // a browser would take Home for the lowest value
    release();
    goTo(Math.max(-REACH, Math.min(REACH, target)));
  };
  const keyUp = () => {
    isKeyDown.current = false;
    release();
  };
  const percent = axis.dim === undefined ? "" : `percentile ${percentile(z[axis.dim]).toFixed(1)}`;
  const shown = (amount > 0 ? "+" : "") + amount.toFixed(2).replace(/^-(0.00)$/, "$1").replace("-", "−");
  return html`<div class="slider">
    <div class="slider-title"><label for=${testid}>${axis.name}</label> <span class="hint">${axis.note}</span><output for=${testid} aria-live="off" data-testid=${`${testid}-value`}>${shown}${percent && html` <span class="hint">${percent}</span>`}</output></div>
    <${Previews} ...${{ axis, model, points, pictures, testid }} onGo=${(step) => goTo(step)} />
    <input
      id=${testid} data-testid=${testid} type="range" min=${-REACH} max=${REACH} step="0.1" value=${amount}
      aria-valuetext=${`${shown} units from ${start}${percent && `, ${percent}`}`}
      title="arrow keys and Page keys move, Home goes back"
      onInput=${slide} onChange=${() => isKeyDown.current || release()} onKeyDown=${keyDown} onKeyUp=${keyUp} onBlur=${keyUp}
    />
  </div>`;
}

/** The pictures above a slider. The keyboard reaches the same points by the slider, so they are no stops of the Tab key. */
function Previews({ axis, model, points, pictures, testid, onGo }) {
  const canvas = useRef(null);
  const [height, width] = model.shape;
  useLayoutEffect(() => {
    const context = canvas.current.getContext("2d");
    pictures?.forEach((picture, i) => context.putImageData(picture, i * width, 0));
  }, [pictures?.[0]]);
  return html`<div class="previews" role="group" aria-label="Pictures along ${axis.name}">
    <canvas ref=${canvas} width=${STEPS.length * width} height=${height} aria-hidden="true" data-testid=${`${testid}-previews`} />
    ${STEPS.map((step, i) => html`<button tabindex="-1" style=${`grid-column: ${i + 1}`} class=${step === 0 ? "home" : ""} data-testid=${`${testid}-step-${i}`} aria-label=${`${axis.name} at ${step}`} title=${`${axis.name} at ${step}`} ...${carries(points?.[i])} onClick=${() => onGo(step)} />`)}
  </div>`;
}
