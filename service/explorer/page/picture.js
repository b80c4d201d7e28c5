// The part "Picture": a picture of the visitor's own, what the model makes of it, and the picture of the point z.
// Knows nothing of the other parts, which move z through the state.

import { html, useCallback, useEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { itemRequest, useAnswer } from "./api.js";
import { fromBase64 } from "./base64.js";
import { brief, carries, choose, Copy, Part, target, Trouble } from "./controls.js";
import { Decoded, decodeRequest } from "./decoded.js";
import { describe } from "./metadata.js";
import { asSeen, pointsOf } from "./model.js";
import { isSame } from "./numbers.js";
import { Posterior } from "./posterior.js";
import { Score, scoreRequests } from "./score.js";
import { Examples, examplesRequest, Kept } from "./shelf.js";
import { Sketch } from "./sketch.js";
import { LONGEST_PICTURE, set } from "./state.js";
import { useFilesFromAnywhere, usePicture } from "./taking.js";

const HINT = "Draw on the left, drop or paste a picture, or take an example: the model encodes it. On the right is the picture of z.";

export function Picture({ model, collection, state }) {
  const { z, home } = pointsOf(state, model);
  const isMoved = !isSame(z, home);
  const picture = usePicture(model, state);
  const { x, take, isMade, posterior } = picture;
  const [foreign, setForeign] = useState(null); // what was dropped here cannot be used
  const examples = useAnswer(useMemo(() => examplesRequest(model), [model]));
  const first = examples.answer?.images[0];
  useEffect(() => {
    // A page whose address says nothing begins with an example.
    if (first && !location.hash && !state.z && !x) take(fromBase64(first), { isFirst: true, isSeen: true });
  }, [first]);
  const takeFile = useCallback(
    async (file, { isSeen = false } = {}) => take(new Uint8Array(await file.arrayBuffer()), { isFile: !isSeen, isSeen }),
    [take],
  );
  useFilesFromAnywhere(takeFile);
  // What depends on the picture alone is not made anew for each step of a slider.
  const requests = useMemo(() => x && scoreRequests(asSeen(model), fromBase64(x), isMoved), [x, model, isMoved]);
  const score = useMemo(() => x && html`<${Score} ...${{ model, mu: home, requests }} />`, [requests, home]);
  const asked = useMemo(() => [picture.asked, ...Object.values(requests ?? {})], [picture.asked, requests]);
  const copy = useMemo(() => html`<${Copy} asked=${asked} testid="picture-copy" />`, [asked]);
  const border = model.preprocessing.ink === "dark" ? "dark" : "light";
  const dropped = target({ size: model.latent_dim, onPoint: choose, onFile: takeFile, onTrouble: setForeign });
  return html`<${Part} id="picture" title="Picture" hint=${HINT}>
    <div data-testid="picture-drop" ...${dropped}>
      <${Sketch}
        ...${{ model, isOwn: picture.isDrawnHere, image: isMade ? undefined : x }}
        onDraw=${picture.draw} onDrawn=${(npy) => take(npy, { isDrawn: true })}
        onInvert=${picture.invert} onClear=${picture.clear}
        beside=${html`<${PointZ} ...${{ model, z, home, isMoved: isMoved && !isMade, hasPicture: x || isMade }} />`}
        tools=${html`<${FileButton} onFile=${takeFile} />`}
      />
      ${!examples.answer && !examples.error && html`<p class="hint" role="status" aria-busy="true">Examples are loading …</p>`}
      ${first && html`<${Examples} images=${examples.answer.images} current=${x} take=${take} />`}
      ${collection?.keep === "picture" && html`<${Kept} key=${collection.name} collection=${collection} take=${take} />`}
      ${collection && state.item && !x && !isMade && html`<${ItemOf} collection=${collection} id=${state.item} isMoved=${isMoved} />`}
      <${Trouble} error=${foreign ?? picture.error ?? examples.error} />
      ${picture.isInverted && html`<p data-testid="picture-inverted">
        ${picture.isInverted === "auto" ? `Inverted, because most of its border is ${border}.` : "Inverted."}
        ${" "}<button data-testid="picture-as-it-came" onClick=${picture.invert}>as it came</button>
      </p>`}
      ${picture.warnings.map((warning) => html`<${Warning} text=${warning} onInvert=${picture.invert} />`)}
      ${x?.length > LONGEST_PICTURE && html`<p class="hint" data-testid="picture-unlinked">
        This picture is too large for an address: a link shows its point, but not the picture.
      </p>`}
      ${score}
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
  const described = answer && describe(answer.metadata).slice(0, 80);
  return html`<p data-testid="picture-item">
      z ${isMoved ? "was moved away from" : "is"} item ${brief(id)}${described && ` (${described})`} of ${collection.name}, which was
      encoded before.
    </p>
    <${Trouble} error=${error} />`;
}

/** What the service warns of. That a picture looks inverted comes with a button instead of the parameter of the service. */
function Warning({ text, onInvert }) {
  const said = text.replace(/: try invert=(yes|no)$/, ".");
  return html`<p class="trouble" data-testid="picture-warning">
    ${said} ${said !== text && html`<button data-testid="picture-invert-it" onClick=${onInvert}>invert it</button>`}
  </p>`;
}

/** The picture of the point that all parts show. As long as that is the mu of a picture, it is the reconstruction. */
function PointZ({ model, z, home, isMoved, hasPicture }) {
  const isReconstruction = hasPicture && !isMoved;
  const remark = isReconstruction ? ": the reconstruction" : isMoved ? ", which was moved" : "";
  return html`<figure data-testid=${isReconstruction ? "picture-reconstruction" : undefined}>
    <button class="thumb" data-testid="picture-z" aria-label="picture of z" title="picture of z (keys a and b: ends of the path)"
      ...${carries(z)}>
      <${Decoded} model=${model} z=${z} label="picture of z" testid="picture-decoded" />
    </button>
    <figcaption data-testid="picture-caption">picture of z${remark}</figcaption>
    <button data-testid="picture-back" disabled=${!isMoved} onClick=${() => set({ z: home })}>
      back to ${hasPicture ? "the picture" : "the chosen point"}
    </button>
    <${Copy} asked=${decodeRequest(model, [z])} testid="picture-z-copy" />
  </figure>`;
}

/** How far the posteriors of the model's test pictures are from the prior. */
function usual({ metrics }) {
  const range = metrics?.kl_range;
  return range ? `; the model's test pictures have ${range.low.toFixed(0)} to ${range.high.toFixed(0)}` : "";
}

function FileButton({ onFile }) {
  const input = useRef(null);
  const pick = (event) => {
    if (event.target.files.length) onFile(event.target.files[0]);
    event.target.value = ""; // the same file may be chosen again
  };
  return html`<button data-testid="picture-choose" onClick=${() => input.current.click()}>choose a file …</button>
    <input ref=${input} type="file" accept="image/*" hidden data-testid="picture-file" onChange=${pick} />`;
}
