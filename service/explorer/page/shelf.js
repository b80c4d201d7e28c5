// Pictures to take: examples of the model, and the originals that a collection keeps.
// Knows nothing of what becomes of a picture that is taken.

import { html, useState } from "./vendor/preact-htm.js";
import { request, send, useAnswer } from "./api.js";
import { carries, Thumb, Trouble } from "./controls.js";
import { itemRequest } from "./map_items.js";
import { bytesOf } from "./taking.js";

const AT_ONCE = 12; // originals of a collection

export const examplesRequest = (model) => request(`models/${encodeURIComponent(model.name)}/examples`);

/** Examples of the model; `take` gets the bytes of one. */
export function Examples({ images, current, take }) {
  return html`<div class="shelf" role="group" aria-label="Examples" data-testid="picture-examples">
    ${images.map((image, i) => html`<${Thumb} key=${i} image=${image} current=${image === current} testid=${`picture-example-${i}`} label=${`example ${i + 1}`} onChoose=${() => take(bytesOf(image), { isSeen: true })} />`)}
  </div>`;
}

/** The originals that a collection keeps, a page at a time. They are loaded when somebody wants to see them. */
export function Kept({ collection, take }) {
  const [isOpen, open] = useState(false);
  const [cursor, goTo] = useState(null);
  const { answer, error } = useAnswer(isOpen ? request(`collections/${collection.name}/items`, { query: { limit: AT_ONCE, cursor } }) : null);
  return html`<details data-testid="picture-kept" onToggle=${(event) => open(event.target.open)}>
    <summary>pictures of the collection</summary>
    <div class="shelf">
      ${answer?.items.map((item) => html`<${Original} key=${item.id} ...${{ collection, item, take }} />`)}
      ${answer?.cursor && html`<button data-testid="picture-kept-next" onClick=${() => goTo(answer.cursor)}>next</button>`}
    </div>
    <${Trouble} error=${error} />
  </details>`;
}

function Original({ collection, item, take }) {
  const { answer } = useAnswer(request(`${itemRequest(collection, item.id).path}/picture`, { accept: "*/*" }), readPicture); // an item without an original is left out
  const stored = useAnswer(itemRequest(collection, item.id));
  return answer && html`<button class="thumb" ...${carries(stored.answer?.mu)} data-testid="picture-kept-item" aria-label=${`item ${item.id}`} title=${`item ${item.id}`} onClick=${() => take(answer.bytes)}><img src=${answer.url} alt="" draggable=${false} /></button>`;
}

async function readPicture(asked) {
  const answer = await send(asked);
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const written = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return { bytes, url: `data:${answer.headers.get("content-type")};base64,${written}` };
}
