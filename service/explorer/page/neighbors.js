// The part "Neighbours": the items of the collection that are nearest to z.
// Knows nothing of how they were stored.

import { html, useEffect, useMemo, useState } from "./vendor/preact-htm.js";
import { collectionPath, request, useAnswer } from "./api.js";
import { brief, Copy, Part, Thumb, Trouble, useResting } from "./controls.js";
import { HowToCollect } from "./how_to.js";
import { contentOf, isWide, worded } from "./kinds.js";
import { describe, plain, useCommonKey } from "./metadata.js";
import { asSeen, pointsOf } from "./model.js";
import { isSame } from "./numbers.js";
import { Row } from "./row.js";
import { METRICS, set } from "./state.js";

const NEAREST = 12;
const ABOUT = {
  l2: "distance of the means",
  cosine: "angle between the means",
  w2: "distance of the means and of the sigmas",
  jeffreys: "how well two are told apart",
  bhattacharyya: "how little two overlap",
  hellinger: "overlap, from 0 to 1",
  fisher_rao: "length of the way from one to the other",
};
const NEED_SIGMA = ["jeffreys", "bhattacharyya", "hellinger", "fisher_rao"]; // the others do without
const HINT = "The items of the collection that are most similar to z. Click one to go there, or drag it to A or B.";

/** `hasOthers`: whether the model has collections, of which the address names none; `unread`: why they cannot be read. */
export function Neighbors({ model, collection, hasOthers, unread, state }) {
  return html`<${Part} id="neighbors" title="Neighbours" hint=${HINT}>
    ${collection && html`<${Nearest} ...${{ model, collection, state }} />`}
    ${!collection && hasOthers && !unread && html`
      <p data-testid="neighbors-none">No collection is chosen, so there is nothing to compare z with. Choose one above.</p>`}
    ${!collection && unread && html`<p>Neighbours need a collection, and the collections of this model cannot be read.</p>`}
    ${!collection && !hasOthers && !unread && html`<${HowToCollect} model=${model} />`}
  </${Part}>`;
}

function Nearest({ model, collection, state }) {
  const point = useMemo(() => wanted(state, model), [state.x, state.z, state.home, state.item, model]);
  const { z, x, item } = useResting(point);
  const { metric, filter } = state;
  const asked = useMemo(
    () => searchRequest(model, collection, { z, x, item, metric, filter }),
    [model, collection, z, x, item, metric, filter],
  );
  const { answer, error } = useAnswer(asked);
  const { key, values } = useCommonKey(collection);
  return html`
    <div class="row">
      <label>metric <select data-testid="neighbors-metric" onChange=${(event) => set({ metric: event.target.value || null })}>
        <option value="" selected=${!metric}>usual (${collection.metric})</option>
        ${METRICS.map((name) => html`<option value=${name} selected=${metric === name}>
          ${name}: ${ABOUT[name]}${NEED_SIGMA.includes(name) ? worded(model, " (needs a picture)") : ""}
        </option>`)}
      </select></label>
      <${Filter} filter=${filter} example=${key && JSON.stringify({ [key]: values[0] })} />
    </div>
    ${values.length > 0 && html`<${Chips} ...${{ keyName: key, values, filter }} />`}
    <${Trouble} error=${error} />
    <p role="status" data-testid="neighbors-summary" aria-busy=${!answer && !error}>${answer ? summary(answer, key) : error ? "" : "Searching …"}</p>
    ${answer && html`
      ${remarks(answer, collection, metric).map((remark) => html`<p class="hint">${remark}</p>`)}
      <${Row} as="ol" class="neighbors">${answer.neighbors.map((one, i) => html`<li key=${one.id}><${Item} item=${one} place=${i} own=${isWide(model) ? one[model.takes.one] : null} /></li>`)}</${Row}>`}
    <${Copy} asked=${asked} testid="neighbors-copy" />
  `;
}

/** What is searched for: the picture or the item itself as long as z is its mu, since a moved point has no sigma. */
function wanted(state, model) {
  const { z, home } = pointsOf(state, model);
  return isSame(z, home) ? { z, x: state.x, item: state.item } : { z };
}

function searchRequest(model, collection, { z, x, item, metric, filter }) {
  const usual = x || item ? null : withoutSigma(collection.metric);
  const query = { k: NEAREST, metric: metric ?? usual, filter, include: `mu,image${isWide(model) ? `,${model.takes.one}` : ""}` };
  const path = `${collectionPath(collection)}/search`;
  if (x) return request(path, { query: { ...query, ...asSeen(model) }, ...contentOf(model, x) });
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
  const kind = `${brief(key)} ${brief(plain(JSON.parse(value)))}`;
  return `${most} of the ${count} nearest ${most === 1 ? "has" : "have"} the ${kind}. ${range}`;
}

/** What else there is to know of an answer. */
function remarks({ metric, unknown_keys: unknown, did_you_mean: similar, warnings }, collection, chosen) {
  const instead = (key) => (similar && Object.hasOwn(similar, key) ? `; did you mean '${similar[key]}'?` : ".");
  const found = (unknown ?? []).map((key) => `No item has the key '${key}'${instead(key)}`);
  if (!chosen && metric !== collection.metric) found.push(`This point was moved, so only its position is compared (${metric}).`);
  return found.concat((warnings ?? []).map((warning) => warning.detail));
}

/** `own`: the row or the text. */
function Item({ item, place, own }) {
  const described = describe(item.metadata) || (own && (typeof own === "string" ? own : describe(own))) || `item ${item.id}`;
  const distance = item.distance.toFixed(2);
  const label = `${described}, distance ${distance}`;
  return html`<${Thumb} image=${item.image} z=${item.mu} item=${item.id} testid=${`neighbors-item-${place}`} label=${label} />
    <div>${distance}</div>
    <div class="hint" title=${`item ${item.id}\n${JSON.stringify(item.metadata)}`}>${described.slice(0, 60)}</div>`;
}

/** A filter as it is typed. It is used when Enter is pressed or the field is left. */
function Filter({ filter, example }) {
  const [draft, setDraft] = useState(filter ?? "");
  useEffect(() => setDraft(filter ?? ""), [filter]);
  return html`<label class="filter">filter <input
    data-testid="neighbors-filter" value=${draft} placeholder=${example} spellcheck=${false} autocomplete="off"
    onInput=${(event) => setDraft(event.target.value)} onChange=${() => set({ filter: draft.trim() || null })}
  /></label>`;
}

/** Filters for one value of a key each. */
function Chips({ keyName, values, filter }) {
  const filterOf = (value) => JSON.stringify({ [keyName]: value });
  const toggle = (value) => set({ filter: filter === filterOf(value) ? null : filterOf(value) });
  return html`<${Row} class="row" role="group" aria-label="Filter by ${keyName}">
    <span class="hint" title=${keyName}>${brief(keyName)}</span>
    <button class="chip" aria-pressed=${!filter} data-testid="neighbors-chip-all" onClick=${() => set({ filter: null })}>all</button>
    ${values.map((value, i) => html`<button class="chip" aria-pressed=${filter === filterOf(value)} data-testid=${`neighbors-chip-${i}`}
      onClick=${() => toggle(value)}>${brief(plain(value))}</button>`)}
  </${Row}>`;
}
