// The part "Picture": a picture of the visitor's own, what the model makes of it, and the picture of the point z.
// Knows nothing of the other parts, which move z through the state.

import { html, useCallback, useEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { itemRequest, useAnswer } from "./api.js";
import { brief, carries, choose, Copy, Part, target, Trouble } from "./controls.js";
import { Decoded, decodeRequest } from "./decoded.js";
import { Item } from "./item.js";
import { asX, filesOf, isPictures, titleOf, worded } from "./kinds.js";
import { describe } from "./metadata.js";
import { pointsOf } from "./model.js";
import { isSame } from "./numbers.js";
import { Posterior } from "./posterior.js";
import { Score, scoreRequests } from "./score.js";
import { Examples, examplesRequests, Kept } from "./shelf.js";
import { Sketch } from "./sketch.js";
import { LONGEST_ITEM, set } from "./state.js";
import { useFilesFromAnywhere, usePicture } from "./taking.js";

const HINTS = {
  picture: "Draw on the left, drop or paste a picture, or take an example",
  strokes: "Draw on the left, drop or paste an SVG file, or take an example",
  text: "Write a text, drop or paste a file, or take an example",
  table: "Fill in a row, drop or paste a CSV file, or take an example",
};
const OF_Z = "On the right is the picture of z.";

export function Picture({ model, collection, state }) {
  const { z, home } = pointsOf(state, model);
  const isMoved = !isSame(z, home);
  const picture = usePicture(model, state);
  const { x, take, isMade, posterior } = picture;
  const [foreign, setForeign] = useState(null); // what was dropped here cannot be used
  const examples = useAnswer(useMemo(() => examplesRequests(model), [model]));
  const xs = useMemo(() => asX(model, examples.answer?.at(-1)[model.takes.list] ?? []), [examples.answer]);
  const [first] = xs;
  useEffect(() => {
    // A page whose address says nothing begins with an example.
    if (first && !location.hash && !state.z && !x) take(first, { isFirst: true });
  }, [first]);
  const takeFile = useCallback(async (file) => take({ body: new Uint8Array(await file.arrayBuffer()) }, { isFile: true }), [take]);
  useFilesFromAnywhere(takeFile);
  // What depends on the picture alone is not made anew for each step of a slider.
  const requests = useMemo(() => x && scoreRequests(model, x, isMoved), [x, model, isMoved]);
  const scored = useAnswer(requests ? requests.score : null);
  const score = useMemo(() => x && html`<${Score} ...${{ model, mu: home, requests, score: scored }} />`, [requests, home, scored]);
  const asked = useMemo(() => [picture.asked, ...Object.values(requests ?? {})], [picture.asked, requests]);
  const copy = useMemo(() => html`<${Copy} asked=${asked} testid="picture-copy" />`, [asked]);
  const border = model.preprocessing.ink === "dark" ? "dark" : "light";
  const dropped = target({ model, onPoint: choose, onItem: (one) => take(one), onFile: takeFile, onTrouble: setForeign });
  const beside = html`<${PointZ} ...${{ model, z, home, isMoved: isMoved && !isMade, hasPicture: x || isMade }} />`;
  const tools = html`<${FileButton} accept=${filesOf(model)} onFile=${takeFile} />`;
  return html`<${Part} id="picture" title=${titleOf(model)} hint=${`${HINTS[model.kind] ?? "Take an example"}: the model encodes it. ${OF_Z}`}>
    <div data-testid="picture-drop" ...${dropped}>
      ${isPictures(model) ? html`<${Sketch}
        ...${{ model, beside, tools, isOwn: picture.isDrawnHere, image: isMade ? undefined : x }}
        onDraw=${(body, isFirst) => picture.draw({ body }, isFirst)} onDrawn=${(body) => take({ body }, { isDrawn: true })}
        onInvert=${picture.invert} onClear=${picture.clear}
      />` : html`<${Item} ...${{ model, picture, z, beside, tools }} parts=${partsOf(scored)} />`}
      ${!examples.answer && !examples.error && html`<p class="hint" role="status" aria-busy="true">Examples are loading …</p>`}
      ${first && html`<${Examples} ...${{ xs, take }} images=${examples.answer[0].images} current=${x} />`}
      ${isPictures(model) && collection?.keep === "picture" && html`<${Kept} key=${collection.name} collection=${collection} take=${take} />`}
      ${collection && state.item && !x && !isMade && html`<${ItemOf} collection=${collection} id=${state.item} isMoved=${isMoved} />`}
      <${Trouble} error=${foreign ?? picture.error ?? examples.error} />
      ${picture.isInverted && html`<p data-testid="picture-inverted">
        ${picture.isInverted === "auto" ? `Inverted, because most of its border is ${border}.` : "Inverted."}
        ${" "}<button data-testid="picture-as-it-came" onClick=${picture.invert}>as it came</button>
      </p>`}
      ${picture.warnings.map((warning) => html`<${Warning} text=${warning} onInvert=${picture.invert} />`)}
      ${x?.length > LONGEST_ITEM && html`<p class="hint" data-testid="picture-unlinked">
        ${worded(model, "This picture is too large for an address: a link shows its point, but not the picture.")}
      </p>`}
      ${score}
      ${posterior && html`
        <p data-testid="picture-kl">KL ${posterior.kl[0].toFixed(1)} nats in all${worded(model, usual(model))}</p>
        <${Posterior} mu=${posterior.mu[0]} sigma=${posterior.sigma[0]} kl=${posterior.kl_per_dim[0]} z=${z} />`}
    </div>
    ${copy}
  </${Part}>`;
}

/** What each column of a row adds to a score, if the service says so. */
const partsOf = ({ answer }) => Object.values(answer?.scores ?? {}).find((one) => one.columns)?.columns[0];

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
      back to ${hasPicture ? worded(model, "the picture") : "the chosen point"}
    </button>
    <${Copy} asked=${decodeRequest(model, [z])} testid="picture-z-copy" />
  </figure>`;
}

/** How far the posteriors of the model's test pictures are from the prior. */
function usual({ metrics }) {
  const range = metrics?.kl_range;
  return range ? `; the model's test pictures have ${range.low.toFixed(0)} to ${range.high.toFixed(0)}` : "";
}

function FileButton({ accept, onFile }) {
  const input = useRef(null);
  const pick = (event) => {
    if (event.target.files.length) onFile(event.target.files[0]);
    event.target.value = ""; // the same file may be chosen again
  };
  return html`<button data-testid="picture-choose" onClick=${() => input.current.click()}>choose a file …</button>
    <input ref=${input} type="file" accept=${accept} hidden data-testid="picture-file" onChange=${pick} />`;
}
