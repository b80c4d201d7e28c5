// Pictures to take: examples of the model, and the originals that a collection keeps.
// Knows nothing of what becomes of a picture that is taken.

import { html, useState } from "./vendor/preact-htm.js";
import { collectionPath, itemRequest, modelPath, request, send, useAnswer } from "./api.js";
import { toBase64 } from "./base64.js";
import { carries, Thumb, Trouble } from "./controls.js";
import { isPictures } from "./kinds.js";
import { Row } from "./row.js";

const AT_ONCE = 12; // originals of a collection

/** The requests for the examples of a model: for their pictures, and for the items, unless these are the pictures. */
export function examplesRequests(model) {
  const path = `${modelPath(model)}/examples`;
  return isPictures(model) ? [request(path)] : [request(path, { query: { view: "picture" } }), request(path)];
}

/** Examples of the model, as it sees them, `xs`; `take` gets one. */
export function Examples({ images, xs, current, take }) {
  return html`<${Row} class="shelf" role="group" aria-label="Examples" data-testid="picture-examples">
    ${images.map((image, i) => html`<${Thumb} key=${i} image=${image} x=${xs[i]} current=${xs[i] === current} testid=${`picture-example-${i}`}
      label=${`example ${i + 1}`} onChoose=${() => take(xs[i])} />`)}
  </${Row}>`;
}

/** The originals that a collection keeps, a page at a time. They are loaded when somebody wants to see them. */
export function Kept({ collection, take }) {
  const [isOpen, open] = useState(false);
  const [cursor, goTo] = useState(null);
  const asked = isOpen ? request(`${collectionPath(collection)}/items`, { query: { limit: AT_ONCE, cursor } }) : null;
  const { answer, error } = useAnswer(asked);
  return html`<details data-testid="picture-kept" onToggle=${(event) => open(event.target.open)}>
    <summary>pictures of the collection</summary>
    <${Row} class="shelf" role="group" aria-label="Pictures of the collection">
      ${answer?.items.map((item) => html`<${Original} key=${item.id} ...${{ collection, item, take }} />`)}
      ${answer?.cursor && html`<button data-testid="picture-kept-next" onClick=${() => goTo(answer.cursor)}>next</button>`}
    </${Row}>
    <${Trouble} error=${error} />
  </details>`;
}

function Original({ collection, item, take }) {
  const asked = request(`${itemRequest(collection, item.id).path}/picture`, { accept: "*/*" });
  const stored = useAnswer(itemRequest(collection, item.id));
  const { answer } = useAnswer(asked, readPicture); // an item without an original is left out
  const label = `item ${item.id}`;
  return answer && html`<button class="thumb" ...${carries(stored.answer?.mu)} data-testid="picture-kept-item"
    aria-label=${label} title=${label} onClick=${() => take({ body: answer.bytes })}><img src=${answer.url} alt="" draggable=${false} /></button>`;
}

async function readPicture(asked) {
  const answer = await send(asked);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  return { bytes, url: `data:${answer.headers.get("content-type")};base64,${toBase64(bytes)}` };
}
