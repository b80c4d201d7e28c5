// The part "Path".

import { html } from "./vendor/preact-htm.js";
import { Part } from "./controls.js";

export function Path({ model, collection, state }) {
  return html`<${Part} id="path" title="Path"></${Part}>`;
}
