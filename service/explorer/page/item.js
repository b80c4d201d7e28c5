// An item that is no picture: drawn, written or filled in, beside the picture of z, and what z is decoded to as data.
// Knows nothing of what becomes of it.

import { html, useEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { request, useAnswer } from "./api.js";
import { Trouble, useResting } from "./controls.js";
import { contentOf, shown, worded } from "./kinds.js";
import { plain } from "./metadata.js";
import { asSeen } from "./model.js";
import { Pad } from "./pad.js";

const EDITORS = { table: Cells, text: Writing };

/** `picture`: what usePicture has found; `parts`: what each column of a row adds to its score. */
export function Item({ model, picture, z, parts, beside, tools }) {
  const { x, isMade, take } = picture;
  const item = useMemo(() => (x ? JSON.parse(x) : null), [x]);
  const Editor = EDITORS[model.kind];
  const write = (value, goesOn = false) => {
    if (value === null) picture.clear();
    else take(JSON.stringify(value), { isDrawn: true, goesOn });
  };
  return html`<div class="both">
    ${model.kind === "strokes" ? html`<${Pad} ...${{ model, item, isMade }} source=${picture.source} isOwn=${picture.isDrawnHere}
      onDraw=${(sketch, isFirst) => picture.draw({ json: { sketch } }, isFirst)}
      onDrawn=${(sketch) => take({ json: { sketch } }, { isDrawn: true })} />` : html`<${Original} ...${{ model, x }} />`}
    ${beside}
    ${Editor && html`<${Editor} ...${{ model, x, item, z, parts, write }} />`}
    <div class="row brush">
      <button data-testid="picture-clear" onClick=${picture.clear}>clear</button>
      ${tools}
    </div>
  </div>`;
}

/** What an item looks like. */
function Original({ model, x }) {
  const query = { ...shown(model), compare: true };
  const { answer } = useAnswer(useMemo(() => (x ? request("reconstruct", { query, ...contentOf(model, x) }) : null), [x]));
  const [height, width] = model.shape;
  return html`<figure data-testid="picture-original">
    ${x && answer ? html`<img src="data:image/png;base64,${answer.originals[0]}" alt=${worded(model, "the original picture")} />`
      : html`<div class="blank" style="aspect-ratio:${width}/${height}" />`}
    <figcaption>${worded(model, x ? "original, as the model sees it" : "no picture yet")}</figcaption>
  </figure>`;
}

/** What z is decoded to, as data. It waits until z rests: the picture of z is there before. */
function useData(model, z) {
  const resting = useResting(z);
  const asked = useMemo(() => request("decode", { query: asSeen(model), json: { z: [resting] } }), [model, resting]);
  const { answer, error } = useAnswer(asked);
  return [answer?.[model.takes.list][0], error];
}

function Writing({ model, x, item, z, write }) {
  const [draft, setDraft] = useState(null); // what is typed, which may not have been encoded yet
  const typed = useRef(new Set()); // since the field has the focus: one step to undo
  const [made, error] = useData(model, z);
  useEffect(() => {
    if (!typed.current.has(x)) setDraft(null); // it came from elsewhere
  }, [x]);
  const type = ({ target: { value } }) => {
    setDraft(value);
    write(value || null, typed.current.size > 0);
    typed.current.add(value ? JSON.stringify(value) : null);
  };
  return html`<label class="whole">text
      <textarea rows="3" data-testid="picture-text" maxlength=${model.takes.max_length} value=${draft ?? item ?? ""} onInput=${type}
        onBlur=${() => typed.current.clear()} />
    </label>
    <div class="whole">z as text <pre data-testid="picture-data">${made}</pre></div>
    <${Trouble} error=${error} />`;
}

/** A row as a form; what z is decoded to fills in the cells that are missing. */
function Cells({ model, item, z, parts, write }) {
  const [made, error] = useData(model, z);
  const { columns } = model.takes;
  const cell = (name) => (item && Object.hasOwn(item, name) ? item[name] : null);
  const change = (name, value) => write(Object.fromEntries(columns.map((one) => [one.name, one.name === name ? value : cell(one.name)])));
  const most = parts && Math.max(...Object.values(parts));
  return html`<div class="whole cells"><table class="scores" data-testid="picture-cells">
      <caption class="hint">The model fills in what is missing (bold). Unlikely: how many nats a cell is less likely than the likeliest
        one, given the others.</caption>
      <thead><tr><th scope="col">column</th><th scope="col">value</th><th scope="col">at z</th><th scope="col">unlikely</th></tr></thead>
      <tbody>${columns.map((column, i) => html`<tr key=${column.name}>
        <th scope="row">${column.name}</th>
        <td><${Cell} column=${column} value=${cell(column.name)} testid="picture-cell-${i}" change=${(value) => change(column.name, value)} /></td>
        <td data-testid="picture-made-${i}" class=${item && cell(column.name) === null ? "filled" : ""}>${made && written(made[column.name])}</td>
        <td class=${most > 0 && parts[column.name] === most ? "filled" : ""}>${parts && item && cell(column.name) !== null && parts[column.name].toFixed(1)}</td>
      </tr>`)}</tbody>
    </table></div>
    <${Trouble} error=${error} />`;
}

const written = (value) => (typeof value === "number" ? Number(value.toPrecision(4)) : plain(value));

function Cell({ column: { name, type, categories }, value, testid, change }) {
  const [draft, setDraft] = useState(null);
  useEffect(() => setDraft(null), [value]);
  const own = { "data-testid": testid, "aria-label": name };
  if (type === "number") {
    // What is no number is sent as it is, and the service says what is wrong.
    const read = (text) => (text.trim() === "" ? null : Number.isNaN(Number(text)) ? text : Number(text));
    return html`<input ...${own} inputmode="decimal" size="8" placeholder="missing" value=${draft ?? value ?? ""}
      onInput=${(event) => setDraft(event.target.value)} onChange=${(event) => change(read(event.target.value))} />`;
  }
  const choices = type === "boolean" ? [true, false] : categories;
  return html`<select ...${own} onChange=${(event) => change(choices[event.target.value] ?? null)}>
    <option value="" selected=${value === null}>missing</option>
    ${choices.map((one, i) => html`<option value=${i} selected=${one === value}>${String(one)}</option>`)}
  </select>`;
}
