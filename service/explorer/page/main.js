// The page: chooses a model and a collection, asks for a key where one is needed, and lays out the parts.

import { Component, html, render, useLayoutEffect, useState } from "./vendor/preact-htm.js";
import { request, useAnswer } from "./api.js";
import { Trouble } from "./controls.js";
import { canUndo, set, undo, usePageState } from "./state.js";
import { Directions } from "./directions.js";
import { Key } from "./key.js";
import { usePageKeys } from "./keys.js";
import { Map } from "./map.js";
import { Neighbors } from "./neighbors.js";
import { Path } from "./path.js";
import { Picture } from "./picture.js";

// What belongs to one model only.
const OF_A_MODEL = { collection: null, x: null, home: null, item: null, start: null, z: null, a: null, b: null, frame: 0, plane: "pca", view: null, color: null, highlight: null, lasso: null, metric: null, filter: null };

const PARTS = { map: Map, picture: Picture, neighbors: Neighbors, path: Path, directions: Directions };
const POINTS = ["z", "home", "start", "a", "b"];

/** The points of an address that do not have as many numbers as the model's latents. */
const misfits = (state, model) => POINTS.filter((name) => state[name] && state[name].length !== model.latent_dim);

function Page() {
  const written = usePageState();
  const models = useAnswer(request("models"));
  const name = written.model ?? models.answer?.models.find((one) => one.default)?.name;
  const model = models.answer?.models.find((one) => one.name === name);
  const misfitting = model ? misfits(written, model) : [];
  const state = { ...written, ...Object.fromEntries(misfitting.map((one) => [one, null])) };
  const { collections, unread, isCurrent } = useCollections(model);
  const own = collections ?? [];
  const byName = (wanted) => own.find((one) => one.name === wanted) ?? null;
  const collection = state.collection ? byName(state.collection) : (byName(`training:${name}`) ?? own[0] ?? null);
  usePageKeys();
  const unknown = models.answer && !model && new Error(`there is no model '${name}'; choose another one`);
  const missing = collections && !unread && state.collection && !collection && new Error(`this model has no collection '${state.collection}'; choose another one`);
  const unfit = misfitting.length > 0 && new Error(`${misfitting.join(" and ")} in this address must have ${model.latent_dim} numbers for '${name}'`);
  // A map, a path and a search need to know whether there is a collection.
  const ready = model && isCurrent;
  const parts = { model, collection, unread, state };
  const isStarting = useStarting();
  const failed = models.error || unknown || unread || missing || unfit;
  return html`
    <nav aria-label="What is shown">
      <label>model <select data-testid="model" onChange=${(event) => set({ ...OF_A_MODEL, model: event.target.value })}>
        ${models.answer?.models.map((one) => html`<option value=${one.name} selected=${one.name === name}>${one.name}</option>`)}
      </select></label>
      <label>collection <select data-testid="collection" onChange=${(event) => set({ collection: event.target.value, item: null, lasso: null, color: null, highlight: null, filter: null, view: null })}>
        ${!collection && html`<option selected value="">none</option>`}
        ${own.map((one) => html`<option value=${one.name} selected=${one === collection}>${one.name} (${one.count})</option>`)}
      </select></label>
      <button data-testid="undo" disabled=${!canUndo()} onClick=${undo} title="Ctrl+Z">undo</button>
    </nav>
    <${Key} />
    <${Trouble} error=${failed} />
    <p role="status" class="waiting" data-testid="waiting">${isStarting ? "The service starts: its models are loading. The page goes on by itself when they are there." : ready || failed ? "" : `Loading ${name ?? "the models"} …`}</p>
    ${ready && html`<div class="parts" key=${`${name} ${collection?.name}`}>
      ${Object.entries(PARTS).map(([id, one]) => html`<${Guarded} key=${id} id=${id}><${one} ...${parts} /></${Guarded}>`)}
    </div>`}
  `;
}

/** The collections of a model: {collections, unread, isCurrent}. Where they cannot be listed, `unread` says why, and its training latents are asked for. */
function useCollections(model) {
  const asked = model ? request("collections", { query: { model: model.name, training: true } }) : null;
  const listed = useAnswer(asked);
  const isListed = asked !== null && listed.asked?.path === asked.path;
  const failed = isListed ? listed.error : null;
  const instead = failed && failed.status !== 403 ? request(`collections/training:${encodeURIComponent(model.name)}`) : null;
  const training = useAnswer(instead);
  if (!failed) return { collections: isListed ? listed.answer?.collections : null, unread: null, isCurrent: isListed && Boolean(listed.answer) };
  const unread = new Error(`The collections of this model cannot be read: ${failed.message}`);
  return { collections: training.answer ? [training.answer] : [], unread, isCurrent: !instead || training.asked?.path === instead.path };
}

/** A part that may fail: then it says so, and the others go on. With another model or collection it is made anew. */
class Guarded extends Component {
  componentDidCatch(error) {
    console.error(error);
    this.setState({ error });
  }

  render({ id, children }, { error }) {
    if (!error) return children;
    return html`<section id=${id} data-testid=${id}>
      <${Trouble} error=${new Error(`This part of the page has failed: ${error.message}`)} />
      <button data-testid=${`${id}-again`} onClick=${() => this.setState({ error: null })}>try again</button>
    </section>`;
  }
}

/** Whether the models of the service are still loading. */
function useStarting() {
  const [isStarting, say] = useState(false);
  useLayoutEffect(() => { // before the first answer
    const take = (event) => say(event.detail);
    addEventListener("service-starting", take);
    return () => removeEventListener("service-starting", take);
  }, []);
  return isStarting;
}

const page = document.getElementById("page");
page.textContent = "";
render(html`<${Page} />`, page);
