// The part "Path": two ends, A and B, and the frames of several paths between them, one above the other.
// Knows nothing of how a strip and its line look.

import { html, useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { request, sendForJson, useAnswer } from "./api.js";
import { Copy, Part, target, Thumb, Trouble } from "./controls.js";
import { bandwidthOf } from "./density.js";
import { useLevel } from "./density_level.js";
import { judge, rangeOf, written } from "./density_line.js";
import { contentOf, isPictures, shown, worded } from "./kinds.js";
import { METHODS } from "./methods.js";
import { asSeen, inversionOf, pointsOf } from "./model.js";
import { clamp, shortest } from "./numbers.js";
import { usePlay } from "./play.js";
import { set, STEPS } from "./state.js";
import { Strip } from "./strip.js";

const HINT = `What lies between two pictures? Drag any of this page to A or B, or press a or b on it. Click a frame to make it z,
  the point that all parts show.`;
const LARGEST = 128; // pixels of a frame in a file; smaller ones are enlarged by whole numbers

const NO_DENSITY = "no_density"; // the service's code: items without a sigma, all at one place

const whole = (value, least, most) => clamp(Math.round(value), least, most);

export function Path({ model, collection: chosen, state }) {
  const collection = chosen?.count > 1 ? chosen : null; // one item makes no density
  const { steps } = state;
  const play = usePlay(whole(state.frame, 0, steps - 1), steps);

  const draws = state.a && state.b ? null : request("sample", { query: { ...shown(model), n: 2, seed: state.seed, include: "z" } });
  const drawn = useAnswer(draws);
  const wanted = [state.a ?? drawn.answer?.z[0], state.b ?? drawn.answer?.z[1]];
  const last = useRef([]);
  if (wanted.every(Boolean)) last.current = wanted;
  const [a, b] = last.current; // the ends before stay until others are drawn

  const levels = useLevel(collection);
  const { level } = levels;
  // Items that have no density have none along a path, either: then the frames alone are asked for.
  const isMeasured = collection && !levels.error;

  const ask = (method, more) => {
    const query = { ...shown(model), collection: collection?.name, method, steps, ...more };
    return a && b && request("interpolate", { query, json: { start: { z: a.map(shortest) }, end: { z: b.map(shortest) } } });
  };
  const asking = Object.keys(METHODS).map((method) => {
    if (method === "graph" && !(collection && state.graph)) return null;
    return ask(method, isMeasured ? { bandwidth: bandwidthOf(collection), include: "log_density,z" } : { include: "z" });
  });
  const found = asking.map((asked) => useAnswer(asked));
  const answers = found.map(({ answer }) => answer);
  useEffect(() => {
    const paths = Object.keys(METHODS).map((method, i) => ({ method, z: answers[i]?.z }));
    dispatchEvent(new CustomEvent("paths-shown", { detail: paths.filter(({ z }) => z) })); // the map draws them
  }, answers);
  const densities = answers.map((answer) => answer?.log_density).filter(Boolean);
  const range = densities.length ? rangeOf(densities, level) : null;
  const said = Object.values(METHODS).map(({ title }, i) => {
    const density = answers[i]?.log_density;
    return density && `${title}: ${judge(density, level).words}`;
  });
  const scale = Math.max(1, Math.floor(LARGEST / model.shape[1]));

  const straight = found[0].answer;
  const { z } = pointsOf(state, model);
  const ends = { a: [a, straight?.images[0]], b: [b, straight?.images.at(-1)] };
  const strip = ([method, { title, about }], i) => html`<${Strip} key=${method} ...${{ method, title, level, range, model }} about=${worded(model, about)}
    frame=${play.frame} found=${told(found, i)} asked=${asking[i]} fileRequest=${(format) => ask(method, { format, scale })}
    waiting=${method === "graph" ? "comparing the items …" : ""}>
    ${method === "graph" && !asking[i] && html`<${Graph} collection=${collection} />`}
  </${Strip}>`;
  return html`<${Part} id="path" title="Path" hint=${worded(model, HINT)}>
    <div class="row path-ends">
      <${End} name="a" ends=${ends} z=${z} model=${model} />
      <button data-testid="path-swap" title="swap A and B" aria-label="swap A and B" disabled=${!(a && b)}
        onClick=${() => set({ a: b, b: a })}>⇄</button>
      <${End} name="b" ends=${ends} z=${z} model=${model} />
      <button data-testid="path-random" title="two random points of the prior, by the next seed"
        onClick=${() => set({ a: null, b: null, seed: state.seed + 1 })}>${worded(model, "two other random pictures")}</button>
      <label>frames <input data-testid="path-steps" type="number" min=${STEPS.fewest} max=${STEPS.most} value=${steps}
        onChange=${(event) => changeSteps(event, steps, play.frame)} /></label>
      <div class="row path-play">
        <button data-testid="path-play" aria-pressed=${play.isPlaying} onClick=${play.toggle}>
          ${play.isPlaying ? "❚❚ pause" : "▶ play"}
        </button>
        <input data-testid="path-frame" type="range" min="0" max=${steps - 1} step="1" value=${play.frame} aria-label="frame"
          aria-valuetext=${`frame ${play.frame + 1} of ${steps}`} onInput=${(event) => play.goTo(Number(event.target.value))} />
        <output>${play.frame + 1} of ${steps}</output>
      </div>
    </div>
    <${Trouble} error=${drawn.error} />
    ${levels.error?.code !== NO_DENSITY && html`<${Trouble} error=${levels.error} />`}
    ${Object.entries(METHODS).map(strip)}
    <p class="unseen" role="status">${said.filter(Boolean).join(". ")}</p>
    <p class="hint" data-testid="path-hint">${worded(model, explain(collection, levels))}</p>
    <${Copy} asked=${[draws, isMeasured && levels.asked, ...asking]} testid="path-copy" />
  </${Part}>`;
}

/**
 * The answer to a request, without an error that an earlier one has, too, since a wrong end is wrong on every path; and without
 * that of items that have no density, which the hint tells.
 */
function told(found, i) {
  const { error } = found[i];
  const isRepeated = found.slice(0, i).some((one) => one.error && one.error.message === error?.message);
  return isRepeated || error?.code === NO_DENSITY ? { ...found[i], error: null } : found[i];
}

/** What the lines below the strips mean, and what counts as little data. */
function explain(collection, { level, share, error }) {
  if (!collection) {
    return `To show how much data lies along a path, and to find the path through the data, this part needs a collection of two items
      or more.`;
  }
  const cause = error?.code === NO_DENSITY ? error.message : "how much data lies along a path is not known";
  if (error) return `There is no line below the strips: ${cause}.`;
  const line = `The line below a strip is the log density of the items of '${collection.name}' at each frame, on one scale for all strips;
    the ring is its lowest place.`;
  if (level === null) return line;
  return `${line} ${Math.round(100 * share)} % of pictures like these lie above the shaded band, which begins at ${written(level)} nats.
    A path that dips into it, deeper than A and B, crosses a gap.`;
}

function changeSteps(event, steps, frame) {
  const chosen = whole(Number(event.target.value) || steps, STEPS.fewest, STEPS.most);
  event.target.value = chosen;
  set({ steps: chosen, frame: Math.round((frame / (steps - 1)) * (chosen - 1)) });
}

/** An end of the paths: its picture, which is a target for others. */
function End({ name, ends, z, model }) {
  const [isOver, setOver] = useState(false);
  const [error, setError] = useState(null);
  const [own, image] = ends[name];
  const title = name.toUpperCase();
  const count = useRef(0); // of what was put here: the newest wins
  const put = (point) => {
    count.current++;
    setError(null);
    set({ [name]: point });
  };
  const encode = async (file, x) => {
    const number = ++count.current;
    setError(null);
    try {
      const content = file ? { body: new Uint8Array(await file.arrayBuffer()) } : contentOf(model, x);
      const query = file && isPictures(model) ? { ...asSeen(model), invert: inversionOf(model) } : asSeen(model);
      const { mu } = await sendForJson(request("encode", { query, ...content }));
      if (number === count.current) put(mu[0]);
    } catch (failed) {
      if (number === count.current) setError(failed);
    }
  };
  const encodeItem = (x) => encode(null, x);
  useEffect(() => {
    const take = ({ detail }) => detail.end === name && encodeItem(detail.x);
    addEventListener("item-for-end", take);
    return () => removeEventListener("item-for-end", take);
  }, [model]);
  const drop = target({ model, onPoint: put, onItem: encodeItem, onFile: (file) => encode(file), onTrouble: setError });
  const leave = (event) => event.currentTarget.contains(event.relatedTarget) || setOver(false);
  const dropped = (event) => {
    setOver(false);
    drop.onDrop(event);
  };
  return html`<div class=${isOver ? "end over" : "end"} data-testid=${`path-${name}`} onDragEnter=${() => setOver(true)}
    onDragLeave=${leave} onDragOver=${drop.onDragOver} onDrop=${dropped}>
    <b>${title}</b>
    ${image && html`<${Thumb} image=${image} z=${own} label=${`${title}, decoded`} testid=${`path-${name}-picture`} />`}
    ${!image && html`<span class="empty"></span>`}
    <button data-testid=${`path-${name}-set`} onClick=${() => put(z)}>use z as ${title}</button>
    <${Trouble} error=${error} />
  </div>`;
}

/** Asks for the path through the data, which takes a moment the first time. */
function Graph({ collection }) {
  if (!collection) return html`<p class="hint">This path needs a collection.</p>`;
  return html`<p>
    <button data-testid="path-graph-open" onClick=${() => set({ graph: 1 })}>find this path</button>${" "}
    <span class="hint">The items are compared with each other; the first time, that takes some seconds.</span>
  </p>`;
}
