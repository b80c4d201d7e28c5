// The part "Neighbours".

import { html } from "./vendor/preact-htm.js";
import { Part } from "./controls.js";

export function Neighbors({ model, collection, state }) {
  return html`<${Part} id="neighbors" title="Neighbours"></${Part}>`;
}
