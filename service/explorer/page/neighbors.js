// The part "Neighbours": the items of the collection that are nearest to z.
// Knows nothing of how they were stored.

import { html, useEffect, useMemo, useState } from "./vendor/preact-htm.js";
import { request, useAnswer } from "./api.js";
import { brief, Copy, Part, Thumb, Trouble, useResting } from "./controls.js";
import { HowToCollect } from "./how_to.js";
import { useCommonKey } from "./metadata.js";
import { isSame, METRICS, set } from "./state.js";
import { asSeen, bytesOf, pictureOf } from "./taking.js";

const NEAREST = 12;
const NEED_SIGMA = METRICS.slice(3);
const HINT = "The items of the collection that are most similar to z. Click one to go there, or drag it to A or B.";

export function Neighbors({ model, collection, unread, state }) {
  return html`<${Part} id="neighbors" title="Neighbours" hint=${HINT}>
    ${collection ? html`<${Nearest} ...${{ model, collection, state }} />` : unread ? html`<p>Neighbours need a collection, and the collections of this model cannot be read.</p>` : html`<${HowToCollect} model=${model} />`}
  </${Part}>`;
}

function Nearest({ model, collection, state }) {
  const point = useMemo(() => pointOf(state, model), [state.x, state.z, state.home, state.item, model]);
  const { z, picture, item } = useResting(point);
  const { metric, filter } = state;
  const asked = useMemo(() => searchRequest(model, collection, { z, picture, item, metric, filter }), [model, collection, z, picture, item, metric, filter]);
  const { answer, error } = useAnswer(asked);
  const { key, values } = useCommonKey(collection);
  return html`
    <div class="row">
      <label>metric <select data-testid="neighbors-metric" onChange=${(event) => set({ metric: event.target.value || null })}>
        <option value="" selected=${!metric}>that of the collection (${collection.metric})</option>
        ${METRICS.map((name) => html`<option value=${name} selected=${metric === name}>${name}${NEED_SIGMA.includes(name) ? " (needs a picture)" : ""}</option>`)}
      </select></label>
      <${Filter} filter=${filter} example=${{ [key ?? "label"]: values[0] ?? 7 }} />
    </div>
    ${values.length > 0 && html`<${Chips} ...${{ keyName: key, values, filter }} />`}
    <${Trouble} error=${error} />
    <p role="status" data-testid="neighbors-summary">${answer && summary(answer, key)}</p>
    ${answer && html`
      ${remarks(answer, collection, metric).map((remark) => html`<p class="hint">${remark}</p>`)}
      <ol class="neighbors">${answer.neighbors.map((one, i) => html`<li key=${one.id}><${Item} item=${one} place=${i} /></li>`)}</ol>`}
    <${Copy} asked=${asked} testid="neighbors-copy" />
  `;
}

/** The point that is searched for. The picture or the item itself is sent as long as z is its mu, since a moved point has no sigma. */
function pointOf(state, model) {
  const home = state.home ?? Array(model.latent_dim).fill(0);
  const z = state.z ?? home;
  return isSame(z, home) ? { z, picture: pictureOf(state), item: state.item } : { z, picture: null, item: null };
}

function searchRequest(model, collection, { z, picture, item, metric, filter }) {
  const query = { k: NEAREST, metric: metric ?? (picture || item ? null : withoutSigma(collection.metric)), filter, include: "mu,image" };
  const path = `collections/${collection.name}/search`;
  if (picture) return request(path, { query: { ...query, ...asSeen(model) }, body: bytesOf(picture) });
  return request(path, { query, json: item ? { id: item } : { mu: z } });
}

/** The metric for a point without a sigma, where the collection's own would miss it: the documentation advises l2. */
const withoutSigma = (metric) => (metric === "w2" || NEED_SIGMA.includes(metric) ? "l2" : null);

/** One sentence on what was found, and of which kind most of it is. */
function summary({ neighbors, metric }, key) {
  const count = neighbors.length;
  if (!count) return `No item was found.${NEED_SIGMA.includes(metric) ? ` By ${metric}, only items with a sigma are.` : ""}`;
  const range = `Distances (${metric}): ${neighbors[0].distance.toFixed(2)} to ${neighbors.at(-1).distance.toFixed(2)}.`;
  const counts = new Map();
  for (const one of neighbors) {
    const value = key && Object.hasOwn(one.metadata, key) ? JSON.stringify(one.metadata[key]) : null;
    if (value !== null) counts.set(value, (counts.get(value) ?? 0) + 1);
  }
  const [value, most] = [...counts].sort((one, other) => other[1] - one[1])[0] ?? [];
  if (!most) return `The ${count} nearest items. ${range}`;
  return `${most} of the ${count} nearest ${most === 1 ? "has" : "have"} the ${brief(key)} ${brief(plain(JSON.parse(value)))}. ${range}`;
}

const plain = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** What else there is to know of an answer. */
function remarks({ metric, unknown_keys: unknown, did_you_mean: similar, warnings }, collection, chosen) {
  const found = (unknown ?? []).map((key) => `No item has the key '${key}'${similar && Object.hasOwn(similar, key) ? `; did you mean '${similar[key]}'?` : "."}`);
  if (!chosen && metric !== collection.metric) found.push("This point is not the mu of a picture or of an item, so it has no sigma, and is compared by l2.");
  return found.concat((warnings ?? []).map((warning) => warning.detail));
}

function Item({ item, place }) {
  const described = Object.entries(item.metadata).map(([key, value]) => `${brief(key)} ${brief(plain(value))}`).join(", ");
  return html`<${Thumb} image=${item.image} z=${item.mu} item=${item.id} testid=${`neighbors-item-${place}`} label=${`${described || item.id}, distance ${item.distance.toFixed(2)}`} />
    <div>${item.distance.toFixed(2)}</div><div class="hint" title=${`${item.id}\n${JSON.stringify(item.metadata)}`}>${(described || item.id).slice(0, 60)}</div>`;
}

/** A filter as it is typed. It is used when Enter is pressed or the field is left. */
function Filter({ filter, example }) {
  const [draft, setDraft] = useState(filter ?? "");
  useEffect(() => setDraft(filter ?? ""), [filter]);
  return html`<label class="filter">filter <input
    data-testid="neighbors-filter" value=${draft} placeholder=${JSON.stringify(example)} spellcheck=${false} autocomplete="off"
    onInput=${(event) => setDraft(event.target.value)} onChange=${() => set({ filter: draft.trim() || null })}
  /></label>`;
}

/** Filters for one value of a key each. */
function Chips({ keyName, values, filter }) {
  const written = (value) => JSON.stringify({ [keyName]: value });
  return html`<div class="row" role="group" aria-label="Filter by ${keyName}">
    <span class="hint" title=${keyName}>${brief(keyName)}</span>
    <button class="chip" aria-pressed=${!filter} data-testid="neighbors-chip-all" onClick=${() => set({ filter: null })}>all</button>
    ${values.map((value, i) => html`<button class="chip" aria-pressed=${filter === written(value)} data-testid=${`neighbors-chip-${i}`} onClick=${() => set({ filter: filter === written(value) ? null : written(value) })}>${brief(plain(value))}</button>`)}
  </div>`;
}
