// The page: chooses a model and a collection, asks for a key where one is needed, and lays out the parts.

import { Component, html, render, useEffect, useLayoutEffect, useMemo, useState } from "./vendor/preact-htm.js";
import { askAgain, collectionPath, request, sendForJson, useAnswer } from "./api.js";
import { CopyLink, Trouble } from "./controls.js";
import { canUndo, chooseCollection, chooseModel, set, undo, usePageState } from "./state.js";
import { Directions } from "./directions.js";
import { isItem, isPictures, isWide, titleOf } from "./kinds.js";
import { Key } from "./key.js";
import { usePageKeys } from "./keys.js";
import { MapPart } from "./map.js";
import { Neighbors } from "./neighbors.js";
import { Path } from "./path.js";
import { Picture } from "./picture.js";

const STARTING = "The service starts: its models are loading. The page goes on by itself when they are there.";
const LATE = "Still waiting for an answer of the service …";
const PARTS = { map: MapPart, picture: Picture, neighbors: Neighbors, path: Path, directions: Directions };
const TITLES = { map: "Map", picture: "", neighbors: "Neighbours", path: "Path", directions: "Directions" };
const POINTS = ["z", "home", "start", "a", "b"];
const FURTHEST = 10_000; // the service decodes no number beyond it

/** The points of an address that do not fit the model, or that cannot be decoded. */
function misfits(state, model) {
  const fits = (point) => point.length === model.latent_dim && point.every((value) => Math.abs(value) <= FURTHEST);
  return POINTS.filter((name) => state[name] && !fits(state[name]));
}

/** A model with the label that a conditional one is told. */
const told = (model, label) => ({ ...model, label: model.condition && (model.labels.includes(label) ? label : model.labels[0]) });

function Page() {
  const wanted = usePageState();
  const models = useModels();
  const name = wanted.model ?? models.answer?.models.find((one) => one.default)?.name;
  const found = models.answer?.models.find((one) => one.name === name);
  const model = useMemo(() => found && told(found, wanted.label), [found, wanted.label]);
  const misfitting = model ? misfits(wanted, model) : [];
  const state = { ...wanted, ...Object.fromEntries(misfitting.map((one) => [one, null])) };
  if (state.x && model && !isItem(model, state.x)) state.x = null; // of a model of another kind
  const { collections, unread, isCurrent } = useCollections(model);
  const own = collections ?? [];
  const byName = (name) => own.find((one) => one.name === name) ?? null;
  const collection = state.collection ? byName(state.collection) : (byName(`training:${name}`) ?? own[0] ?? null);
  usePageKeys();
  // z stays, and is decoded with the other label; the item was encoded with the one before.
  const chooseLabel = (event) => set({ label: event.target.value, x: null, home: state.z ?? state.home ?? null });
  const unknown = models.answer && !model && new Error(`there is no model '${name}'; choose another one`);
  const missing = collections && !unread && state.collection && !collection
    && new Error(`this model has no collection '${state.collection}'; choose another one`);
  const unfit = misfitting.length > 0 && new Error(
    `${misfitting.join(" and ")} in this address must have ${model.latent_dim} numbers for '${name}', from -${FURTHEST} to ${FURTHEST}`,
  );
  // A map, a path and a search need to know whether there is a collection.
  const ready = model && isCurrent;
  const parts = { model, collection, hasOthers: own.length > 0, unread, state };
  const isStarting = useTold("service-starting");
  const isLate = useTold("service-late");
  const failed = models.error || unknown || unread || missing || unfit;
  const waiting = isStarting ? STARTING : isLate ? LATE : ready || failed ? "" : `Loading ${name ?? "the models"} …`;
  return html`
    <nav aria-label="What is shown">
      <label>model <select data-testid="model" onChange=${(event) => chooseModel(event.target.value)}>
        ${models.answer && !model && html`<option selected value="">none</option>`}
        ${models.answer?.models.map((one) => html`<option value=${one.name} selected=${one.name === name}>${one.name}</option>`)}
      </select></label>
      ${model?.condition && html`<label>${model.condition} <select data-testid="label" onChange=${chooseLabel}>
        ${model.labels.map((one) => html`<option value=${one} selected=${one === model.label}>${one}</option>`)}
      </select></label>`}
      <label>collection <select data-testid="collection" onChange=${(event) => chooseCollection(event.target.value)}>
        ${!collection && html`<option selected value="">none</option>`}
        ${own.map((one) => html`<option value=${one.name} selected=${one === collection}>${one.name} (${one.count})</option>`)}
      </select></label>
      <button data-testid="undo" disabled=${!canUndo()} onClick=${undo} title="Ctrl+Z">undo</button>
      <${CopyLink} state=${wanted} />
    </nav>
    <${Key} />
    <${Gone} />
    <${Trouble} error=${failed} />
    <p role="status" class="waiting" data-testid="waiting">${waiting}</p>
    ${ready && html`<${Jump} titles=${{ ...TITLES, picture: titleOf(model) }} />`}
    ${ready && html`<div class=${isPictures(model) ? "parts" : isWide(model) ? "parts smooth wide" : "parts smooth"} key=${`${name} ${model.label} ${collection?.name}`}>
      ${Object.entries(PARTS).map(([id, one]) => html`<${Guarded} key=${id} id=${id}><${one} ...${parts} /></${Guarded}>`)}
    </div>`}
  `;
}

/** The answer to what models there are. It is asked anew when one that is shown has been unloaded. */
function useModels() {
  const [round, setRound] = useState(0);
  useEffect(() => {
    const again = () => setRound((count) => count + 1);
    addEventListener("model-gone", again);
    return () => removeEventListener("model-gone", again);
  }, []);
  return useAnswer(request(`models#${round}`), readModels); // a fragment is not sent
}

/** The models, with the shape of the pictures that show their items. */
async function readModels(asked) {
  const answer = await sendForJson(asked);
  for (const one of answer.models) one.shape = one.view;
  return answer;
}

/**
 * The collections of a model: {collections, unread, isCurrent}. Where they cannot be listed, `unread` says why, and its training
 * latents are asked for.
 */
function useCollections(model) {
  const asked = model ? request("collections", { query: { model: model.name, training: true } }) : null;
  const listed = useAnswer(asked);
  const isListed = asked !== null && listed.asked?.path === asked.path;
  const failed = isListed ? listed.error : null;
  const instead = failed && failed.status !== 403 ? request(collectionPath({ name: `training:${model.name}` })) : null;
  const training = useAnswer(instead);
  if (!failed) {
    return { collections: isListed ? listed.answer?.collections : null, unread: null, isCurrent: isListed && Boolean(listed.answer) };
  }
  const { message, isGone } = failed;
  const unread = Object.assign(new Error(`The collections of this model cannot be read: ${message}`), { isGone });
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

/** What an event has told last: whether the models of the service are still loading, or how many answers are late. */
function useTold(name) {
  const [told, tell] = useState(null);
  useLayoutEffect(() => {
    // before the first answer
    const take = (event) => tell(event.detail);
    addEventListener(name, take);
    return () => removeEventListener(name, take);
  }, []);
  return told;
}

/** Says once, for all parts, that the service does not answer. */
function Gone() {
  const [isGone, setGone] = useState(false);
  useEffect(() => {
    const listeners = { "service-gone": () => setGone(true), "ask-again": () => setGone(false), online: () => askAgain() };
    for (const [name, listener] of Object.entries(listeners)) addEventListener(name, listener);
    return () => {
      for (const [name, listener] of Object.entries(listeners)) removeEventListener(name, listener);
    };
  }, []);
  return isGone && html`<p class="trouble" role="alert" data-testid="trouble">
    The service does not answer; is it still running? <button data-testid="try-again" onClick=${() => askAgain()}>try again</button>
  </p>`;
}

/** Leads to a part. These are no links, since the fragment of the address is the state. */
function Jump({ titles }) {
  const goTo = (id) => {
    const title = document.getElementById(`${id}-title`);
    title.focus();
    title.scrollIntoView();
  };
  return html`<nav class="jump" aria-label="Parts of the page">
    ${Object.entries(titles).map(([id, title]) => html`<button key=${id} data-testid="go-to-${id}" onClick=${() => goTo(id)}>${title}</button>`)}
  </nav>`;
}

const page = document.getElementById("page");
page.textContent = "";
render(html`<${Page} />`, page);
