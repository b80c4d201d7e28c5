// The part "Picture": a picture of the visitor's own, what the model makes of it, and the picture of the point z.
// Knows nothing of the other parts, which move z through the state.

import { html, useCallback, useEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { useAnswer } from "./api.js";
import { carries, choose, Copy, Part, target, Trouble } from "./controls.js";
import { Decoded, decodeRequest } from "./decoded.js";
import { Drawing } from "./drawing.js";
import { itemRequest } from "./map_items.js";
import { Posterior } from "./posterior.js";
import { Examples, examplesRequest, Kept } from "./shelf.js";
import { isSame, set } from "./state.js";
import { asSeen, bytesOf, useFilesFromAnywhere, usePicture } from "./taking.js";
import { Verdict, verdictRequests } from "./verdict.js";

const HINT = "Draw on the left, drop or paste a picture, or take an example: the model encodes it at once. On the right is what z looks like.";

export function Picture({ model, collection, state }) {
  const z = state.z ?? state.home ?? Array(model.latent_dim).fill(0);
  const home = state.home ?? z;
  const picture = usePicture(model, state);
  const { x, take, posterior } = picture;
  const [foreign, setForeign] = useState(null); // what was dropped here cannot be used
  const examples = useAnswer(useMemo(() => examplesRequest(model), [model]));
  const first = examples.answer?.images[0];
  useEffect(() => {
    // A page whose address says nothing begins with an example.
    if (first && !location.hash && !state.z && !x) take(bytesOf(first), { isFirst: true, isSeen: true });
  }, [first]);
  const takeFile = useCallback(async (file, { isSeen = false } = {}) => take(new Uint8Array(await file.arrayBuffer()), { isFile: !isSeen, isSeen }), [take]);
  useFilesFromAnywhere(takeFile);
  // What depends on the picture alone is not made anew for each step of a slider.
  const requests = useMemo(() => x && verdictRequests(asSeen(model), bytesOf(x)), [x, model]);
  const verdict = useMemo(() => x && html`<${Verdict} ...${{ model, x, mu: home, requests }} />`, [requests, home]);
  const copy = useMemo(() => html`<${Copy} asked=${[picture.asked, ...Object.values(requests ?? {})]} testid="picture-copy" />`, [picture.asked, requests]);
  return html`<${Part} id="picture" title="Picture" hint=${HINT}>
    <div data-testid="picture-drop" ...${target({ size: model.latent_dim, onPoint: choose, onFile: takeFile, onTrouble: setForeign })}>
      <${Drawing}
        ...${{ model, isOwn: picture.isDrawnHere, image: picture.isMade ? undefined : x }}
        onDraw=${picture.draw} onDrawn=${(npy) => take(npy, { isDrawn: true })} onInvert=${picture.invert} onClear=${picture.clear}
        beside=${html`<${PointZ} ...${{ model, z, home: picture.isMade ? z : home, hasPicture: x || picture.isMade }} />`}
        tools=${html`<${FileButton} onFile=${takeFile} />`}
      />
      ${first && html`<${Examples} images=${examples.answer.images} current=${x} take=${take} />`}
      ${collection?.keep === "picture" && html`<${Kept} key=${collection.name} collection=${collection} take=${take} />`}
      ${collection && state.item && !x && !picture.isMade && html`<${ItemOf} collection=${collection} id=${state.item} isMoved=${!isSame(z, home)} />`}
      <${Trouble} error=${foreign ?? picture.error ?? examples.error} />
      ${picture.isInverted && html`<p data-testid="picture-inverted">${picture.isInverted === "auto" ? `Inverted, because most of its border is ${model.preprocessing.ink === "dark" ? "dark" : "light"}.` : "Inverted."} <button data-testid="picture-as-it-came" onClick=${picture.invert}>as it came</button></p>`}
      ${picture.warnings.map((warning) => html`<${Warning} text=${warning} onInvert=${picture.invert} />`)}
      ${x && !state.x && html`<p class="hint" data-testid="picture-unlinked">This picture is too large for an address: a link shows its point, but not the picture.</p>`}
      ${verdict}
      ${posterior && html`
        <p data-testid="picture-kl">KL ${posterior.kl[0].toFixed(1)} nats in all${usual(model)}</p>
        <${Posterior} mu=${posterior.mu[0]} sigma=${posterior.sigma[0]} kl=${posterior.kl_per_dim[0]} z=${z} />`}
    </div>
    ${copy}
  </${Part}>`;
}

/** Which item of the collection z is. */
function ItemOf({ collection, id, isMoved }) {
  const { answer, error } = useAnswer(itemRequest(collection, id));
  const described = answer && Object.entries(answer.metadata).map(([key, value]) => `${key} ${typeof value === "string" ? value : JSON.stringify(value)}`).join(", ").slice(0, 80);
  return html`<p data-testid="picture-item">z ${isMoved ? "was moved away from" : "is"} item ${id}${described && ` (${described})`} of ${collection.name}, which was encoded before.</p><${Trouble} error=${error} />`;
}

/** What the service warns of. That a picture looks inverted comes with a button instead of the parameter of the service. */
function Warning({ text, onInvert }) {
  const said = text.replace(/: try invert=(yes|no)$/, ".");
  return html`<p class="trouble" data-testid="picture-warning">${said} ${said !== text && html`<button data-testid="picture-invert-it" onClick=${onInvert}>invert it</button>`}</p>`;
}

/** The picture of the point that all parts show. */
function PointZ({ model, z, home, hasPicture }) {
  const isMoved = !isSame(z, home);
  return html`<figure>
    <button class="thumb" data-testid="picture-z" aria-label="The picture of z" title="the picture of z (keys a and b: ends of the path)" ...${carries(z)}>
      <${Decoded} model=${model} z=${z} label="z, decoded" testid="picture-decoded" />
    </button>
    <figcaption data-testid="picture-caption">${captionOf(hasPicture, isMoved)}</figcaption>
    <button data-testid="picture-back" disabled=${!isMoved} onClick=${() => set({ z: home })}>back to ${hasPicture ? "mu" : "the start"}</button>
    <${Copy} asked=${decodeRequest(model, [z])} testid="picture-z-copy" />
  </figure>`;
}

function captionOf(hasPicture, isMoved) {
  if (isMoved) return hasPicture ? "z, moved away from the picture" : "z, moved";
  return hasPicture ? "reconstruction: z is mu" : "z, decoded";
}

/** How far the posteriors of the model's test pictures are from the prior. */
function usual({ metrics }) {
  const range = metrics?.kl_range;
  return range ? `; the model's test pictures have ${range.low.toFixed(0)} to ${range.high.toFixed(0)}` : "";
}

function FileButton({ onFile }) {
  const input = useRef(null);
  return html`<button data-testid="picture-choose" onClick=${() => input.current.click()}>choose a file …</button>
    <input ref=${input} type="file" accept="image/*" hidden data-testid="picture-file" onChange=${(event) => {
      if (event.target.files.length) onFile(event.target.files[0]);
      event.target.value = ""; // the same file may be chosen again
    }} />`;
}
