// One path as a strip of frames: its pictures, how dense the data are along it, its length, and its files.
// Knows nothing of how the ends were chosen.

import { html, useState } from "./vendor/preact-htm.js";
import { send } from "./api.js";
import { carries, choose, Thumb, Trouble } from "./controls.js";
import { DensityLine, judge, written } from "./density_line.js";
import { isPictures } from "./kinds.js";
import { Dashes } from "./methods.js";
import { Row } from "./row.js";
import { set } from "./state.js";

const FILES = { webp: "WebP", gif: "GIF", png: "PNG" };
const LENGTH = `How much the picture changes, in √nats: the sum over all frames of the square root of the symmetric KL, in nats, between
  the distributions that neighbouring frames are decoded to. It depends on the number of frames.`.replace(/\s+/g, " ");

/** A path that is shown, that is asked for, or that the service refuses. `found`: {answer, error, asked}; `children`: instead. */
export function Strip({ method, title, about, found, asked, waiting, fileRequest, frame, level, range, model, children }) {
  const { answer, error } = found;
  const testid = `path-${method}`;
  const isOld = asked?.path !== found.asked?.path || asked?.body !== found.asked?.body;
  const z = answer?.z[frame];
  const density = answer?.log_density;
  const judged = density && judge(density, level);
  const choosing = (i) => {
    choose(answer.z[i]);
    set({ frame: i }, { undoable: false });
  };
  return html`<div class="path-row" role="group" aria-label=${title} data-testid=${testid} aria-busy=${Boolean(asked && isOld)}>
    <div class="path-head">
      <h3>${title} <${Dashes} method=${method} /></h3>
      <p class="hint">${about}</p>
      ${z && html`<${Thumb} image=${answer.images[frame]} z=${z} label=${`frame ${frame + 1} of ${title}: make it z`}
        testid=${`${testid}-z`} onChoose=${() => choosing(frame)} />`}
    </div>
    <div class="path-body">
      ${children}
      ${asked && isOld && html`<p class="hint" role="status">${waiting}</p>`}
      <${Trouble} error=${error} />
      ${answer && html`
        <div class="strip" style=${`--frames: ${answer.images.length}`}>
          <${Row} class="frames" role="group" aria-label=${`frames of ${title}`}>
            ${answer.images.map((image, i) => html`<button class="thumb" key=${i} data-testid=${`${testid}-frame-${i}`}
              aria-current=${i === frame} aria-label=${`frame ${i + 1}`}
              title=${`frame ${i + 1}${density ? `, log density ${written(density[i])} nats` : ""}`}
              ...${carries(answer.z[i])} onClick=${() => choosing(i)}
            ><img src="data:image/png;base64,${image}" alt="" draggable=${false} /></button>`)}
          </${Row}>
          ${density && html`<${DensityLine} ...${{ density, level, range, frame }} lowest=${judged.lowest}
            testid=${`${testid}-density`} label=${lineWords(density, judged.lowest)} />`}
        </div>
        <div class="path-facts">
          <p data-testid=${`${testid}-words`}>
            ${judged?.crosses ? html`<b>▼ ${judged.words}</b>` : judged?.words}
            ${judged && html` <span class="hint" title=${`log density ${written(density[judged.lowest])} nats`}>
              least data at frame ${judged.lowest + 1}
            </span>`}
            ${answer.length !== undefined && html` <span class="hint" title=${isPictures(model) ? LENGTH : "the length of the path in the latent space"}>
              change along the path: ${written(answer.length)}
            </span>`}
            ${answer.graph && html` <span class="hint" title=${answer.ids.join(", ")}>${graphWords(answer)}</span>`}
          </p>
          <${Files} ...${{ method, title, fileRequest, testid }} />
        </div>`}
    </div>
  </div>`;
}

function lineWords(density, lowest) {
  const [a, least, b] = [density[0], density[lowest], density.at(-1)].map(written);
  return `log density ${a} at A, ${least} at its lowest, frame ${lowest + 1}, ${b} at B`;
}

/** How many items a path goes by, and how many it was found among: large collections are sampled. */
function graphWords({ ids, graph: { items, count } }) {
  const [passed, among, all] = [ids.length, items, count].map((value) => value.toLocaleString("en"));
  return `by way of ${passed} ${ids.length === 1 ? "item" : "items"}, found through ${items < count ? among : "all"} of ${all} items`;
}

/** Buttons that save a path as an animation, or as one picture of all its frames. */
function Files({ method, title, fileRequest, testid }) {
  const [error, setError] = useState(null);
  const save = async (format) => {
    try {
      setError(null);
      await download(fileRequest(format), `path-${title.replaceAll(" ", "-")}.${format}`);
    } catch (failed) {
      setError(failed);
    }
  };
  return html`<span class="copy row">save
    ${Object.entries(FILES).map(([format, name]) => html` <button key=${format} data-testid=${`${testid}-${format}`}
      aria-label=${`save ${title} as ${name}`} title=${format === "png" ? "all frames side by side" : "an animation from A to B"}
      onClick=${() => save(format)}>${name}</button>`)}
    <${Trouble} error=${error} />
  </span>`;
}

/** Save the answer to a request as a file of this name. */
async function download(asked, name) {
  const answer = await send(asked);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser has read it by then
}
