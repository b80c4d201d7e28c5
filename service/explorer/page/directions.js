// The part "Directions".

import { html } from "./vendor/preact-htm.js";
import { Part } from "./controls.js";

export function Directions({ model, collection, state }) {
  return html`<${Part} id="directions" title="Directions"></${Part}>`;
}
