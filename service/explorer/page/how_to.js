// How to get what is missing: a collection, directions with names, a calibration. The commands can be copied.
// Knows nothing of the parts that miss them.

import { html, useState } from "./vendor/preact-htm.js";
import { asCurl, directionPath, request } from "./api.js";
import { Command } from "./controls.js";
import { isPictures, worded } from "./kinds.js";
import { useCommonKey } from "./metadata.js";

const OWN = "mine";
const FOLDER = "FOLDER has pictures; the names of its subfolders become their labels. ";
const LOADING = "Run the command where the service is installed, with "
  + "the same VAE_STORE as the service; it prints the store that it writes to. Then load this page anew.";

/** How to get a collection. */
export function HowToCollect({ model }) {
  return html`<p data-testid="neighbors-how">There is no collection of this model, so there is nothing to compare z with. This command
      makes one. ${loading(model)}</p>
    <${Load} model=${model} />`;
}

const loading = (model) => (isPictures(model) ? FOLDER : worded(model, "FILE has pictures. ")) + LOADING;

function Load({ model }) {
  const from = isPictures(model) ? "FOLDER" : "FILE";
  const content = `.venv/bin/python -m service.store load --collection ${OWN} --model ${model.name} ${from}`;
  return html`<${Command} content=${content} testid="neighbors-command" />`;
}

/** How to get a calibration, which says how unusual a picture is. */
export function HowToCalibrate() {
  return html`<p class="hint">Make a calibration with this command. DIRECTORY is that of the model. Add --data DATA if the model was not
      trained by models.train. Then load the model again.</p>
    <${Command} content=".venv/bin/python -m models.evaluate DIRECTORY --calibrate" testid="picture-command" />`;
}

/** How to get named directions. */
export function HowToName({ model, collection }) {
  const [isOpen, open] = useState(false);
  return html`<details class="hint" data-testid="directions-how" onToggle=${(event) => open(event.target.open)}>
    <summary>How to get named directions</summary>
    ${isOpen && html`<p>A direction leads from one kind of item to another, such as to all items with one label. It is made from the items
        of a collection. Then load this page anew.</p>
      ${collection && !collection.read_only ? html`<${OfThis} collection=${collection} />` : html`
        <p>${collection ? "This collection cannot be changed, so make one of your own" : "First make a collection"}. ${loading(model)}</p>
        <${Load} model=${model} />
        <${Name} collection=${{ name: OWN }} />`}`}
  </details>`;
}

function OfThis({ collection }) {
  const { key, values } = useCommonKey(collection);
  return html`<${Name} ...${{ collection }} of=${key === null ? undefined : key} value=${values[0]} />`;
}

function Name({ collection, of: key = "KEY", value = "VALUE" }) {
  const json = { positive: { [key]: value }, negative: { [key]: { ne: value } } };
  const content = asCurl(request(directionPath(collection, "first"), { method: "PUT", json }));
  return html`<${Command} content=${content} testid="directions-command" />`;
}
