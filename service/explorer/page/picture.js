// The part "Picture".

import { html } from "./vendor/preact-htm.js";
import { Part } from "./controls.js";

export function Picture({ model, collection, state }) {
  return html`<${Part} id="picture" title="Picture"></${Part}>`;
}
