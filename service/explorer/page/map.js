// The part "Map".

import { html } from "./vendor/preact-htm.js";
import { Part } from "./controls.js";

export function Map({ model, collection, state }) {
  return html`<${Part} id="map" title="Map"></${Part}>`;
}
