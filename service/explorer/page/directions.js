// The part "Directions": sliders through the point z, with the pictures that they lead to.
// Knows nothing of where the directions come from.

import { html, useLayoutEffect, useMemo, useRef } from "./vendor/preact-htm.js";
import { useAnswer } from "./api.js";
import { amountOf, moved, percentile, useAxes, useNames } from "./axes.js";
import { carries, Copy, Part, Trouble, useResting } from "./controls.js";
import { Decoded, decodeRequest, readPictures } from "./decoded.js";
import { HowToName } from "./how_to.js";
import { worded } from "./kinds.js";
import { pointsOf } from "./model.js";
import { clamp, isSame, signed } from "./numbers.js";
import { set } from "./state.js";

const REACH = 3; // units, on both sides of the start
const STEPS = Array.from({ length: 2 * REACH + 1 }, (_, i) => i - REACH);
const KINDS = {
  top: "most important dimensions first",
  local: "strongest changes here (local components)",
  named: "named directions",
};
const HINTS = {
  top: "Each slider moves z along one dimension. A unit is a standard deviation of the prior, N(0, 1).",
  local: "Each slider moves z along a direction in which the picture changes most, seen from the start.",
  named: "Each slider moves z along a direction of the collection. A unit is a standard deviation of its items.",
};

export function Directions({ model, collection, unread, state }) {
  const { z, start } = pointsOf(state, model);
  const isMoved = !isSame(z, start);
  const startHere = () => set({ start: z });
  const names = useNames(collection);
  const kind = (state.directions === "named" && !names.length) || (state.directions === "local" && model.kind === "text") ? "top" : KINDS[state.directions] ? state.directions : "top";
  const { axes, asked, error } = useAxes(kind, model, collection, start);
  const restingZ = useResting(z);
  const points = useMemo(() => axes.map((axis) => pointsAlong(axis, restingZ, start)), [axes, restingZ, start]);
  const previews = useMemo(() => (points.length ? decodeRequest(model, points.flat()) : null), [points]);
  const { answer: pictures, error: undrawn } = useAnswer(previews, readPictures);
  return html`<${Part} id="directions" title="Directions" hint=${`${HINTS[kind]} Click a picture to go there.`}>
    <div class="row" role="radiogroup" aria-label="Directions">
      ${Object.entries(KINDS).map(([name, label]) => html`<label>
        <input type="radio" name="directions" data-testid=${`directions-${name}`} checked=${kind === name}
          disabled=${name === "named" ? !names.length : name === "local" && model.kind === "text"} onChange=${() => set({ directions: name })} /> ${label}
      </label>`)}
      <button data-testid="directions-home" disabled=${!isMoved} onClick=${() => set({ z: start })}>back to the start</button>
      <button data-testid="directions-start" disabled=${!isMoved} onClick=${startHere}>make this the start</button>
    </div>
    <${Trouble} error=${error ?? undrawn} />
    ${kind === "named" && names.length > axes.length && axes.length > 0 && html`
      <p class="hint">These are the first ${axes.length} of ${names.length} directions.</p>`}
    ${!axes.length && !error && html`<p role="status" aria-busy="true">The sliders are loading …</p>`}
    <div class="directions">
      <figure>
        <button class="thumb" data-testid="directions-z" title="make this the start (keys a and b: ends of the path)"
          aria-label="picture of z: make this the start" ...${carries(z)} onClick=${startHere}>
          <${Decoded} model=${model} z=${z} label="picture of z" testid="directions-canvas" />
        </button>
        <figcaption class="hint">picture of z</figcaption>
      </figure>
      <div class="sliders">
        ${axes.map((axis, i) => html`<${Slider} key=${axis.name} ...${{ axis, z, start, model }} points=${points[i]}
          pictures=${pictures?.slice(i * STEPS.length, (i + 1) * STEPS.length)} testid=${`directions-slider-${i}`} />`)}
      </div>
    </div>
    ${!names.length && !(unread && !collection) && html`<${HowToName} model=${model} collection=${collection} />`}
    <${Copy} asked=${[...asked, previews, decodeRequest(model, [z])]} testid="directions-copy" />
  </${Part}>`;
}

function pointsAlong(axis, z, start) {
  const amount = amountOf(z, start, axis);
  return STEPS.map((step) => moved(z, start, axis, step - amount));
}

function Slider({ axis, z, start, model, points, pictures, testid }) {
  const drag = useRef(null); // where it began, and where it has led: a drag, or a key that is held, is one step to undo
  const isKeyDown = useRef(false);
  const amount = amountOf(z, start, axis);
  const goTo = (target, from = { z, amount }, options) => {
    const to = moved(from.z, start, axis, target - from.amount);
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
    goTo(clamp(target, -REACH, REACH));
  };
  const keyUp = () => {
    isKeyDown.current = false;
    release();
  };
  const percent = axis.dim === undefined ? "" : `further right than ${clamp(Math.round(percentile(z[axis.dim])), 1, 99)} % of ${worded(model, "pictures")}`;
  const shown = (amount > 0 ? "+" : "") + signed(amount).replace(/^−(0.00)$/, "$1");
  return html`<div class="slider">
    <div class="slider-title">
      <label for=${testid}>${axis.name}</label> <span class="hint">${axis.note}</span>
      <output for=${testid} aria-live="off" data-testid=${`${testid}-value`}><span class="hint">moved by</span> ${shown}</output>
      ${percent && html`<span class="hint percent" data-testid=${`${testid}-percent`}>${percent}</span>`}
    </div>
    <${Previews} ...${{ axis, model, points, pictures, testid }} at=${clamp(Math.round(amount), -REACH, REACH)} onGo=${(step) => goTo(step)} />
    <input
      id=${testid} data-testid=${testid} type="range" min=${-REACH} max=${REACH} step="0.1" value=${amount}
      aria-valuetext=${`${shown} units from the start${percent && `, ${percent}`}`}
      title="arrow keys and Page keys move, Home goes back"
      onInput=${slide} onChange=${() => isKeyDown.current || release()} onKeyDown=${keyDown} onKeyUp=${keyUp} onBlur=${keyUp}
    />
  </div>`;
}

/** The pictures above a slider. The keyboard reaches the same points by the slider, so they are no stops of the Tab key. `at`: the step nearest to z. */
function Previews({ axis, model, points, pictures, at, testid, onGo }) {
  const canvas = useRef(null);
  const [height, width] = model.shape;
  useLayoutEffect(() => {
    const context = canvas.current.getContext("2d");
    pictures?.forEach((picture, i) => context.putImageData(picture, i * width, 0));
  }, [pictures?.[0]]);
  return html`<div class="previews" role="group" aria-label="Pictures along ${axis.name}">
    <canvas ref=${canvas} width=${STEPS.length * width} height=${height} aria-hidden="true" data-testid=${`${testid}-previews`} />
    ${STEPS.map((step, i) => html`<button tabindex="-1" style=${`grid-column: ${i + 1}`} aria-current=${step === at}
      data-testid=${`${testid}-step-${i}`} aria-label=${`${axis.name} at ${step}`} title=${`${axis.name} at ${step}`}
      ...${carries(points?.[i])} onClick=${() => onGo(step)} />`)}
  </div>`;
}
