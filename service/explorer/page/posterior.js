// The posterior of a picture: mu and sigma of each dimension against the prior, those that say most first.
// Knows nothing of where the numbers come from.

import { html, useState } from "./vendor/preact-htm.js";
import { clamp, signed } from "./numbers.js";

const SHOWN = 8;
const REACH = 4; // the bars show -4 to 4 standard deviations of the prior

const percent = (value) => `${(50 * (clamp(value, -REACH, REACH) + REACH)) / REACH}%`;
const sum = (values) => values.reduce((one, other) => one + other, 0);

/** `mu`, `sigma` and `kl` have a number for each dimension; `z` is marked where it is not mu. */
export function Posterior({ mu, sigma, kl, z }) {
  const [isOpen, open] = useState(false);
  const order = kl.map((_, i) => i).sort((one, other) => kl[other] - kl[one]);
  const others = order.slice(SHOWN);
  const row = (i) => html`<${Dimension} key=${i} ...${{ i, mu: mu[i], sigma: sigma[i], kl: kl[i], z: z[i] }} />`;
  return html`<table class="posterior" data-testid="picture-posterior">
    <caption class="hint">mu (dot): best guess. sigma (line): its uncertainty. Grey: what is usual. Diamond: where you moved it.
      Most important dimensions first, by their KL.</caption>
    <thead><tr>
      <th scope="col">dim</th>
      <th scope="col"><span class="scale"><span>−${REACH}</span><span>0</span><span>${REACH}</span></span></th>
      <th scope="col">mu ± sigma</th><th scope="col">KL</th>
    </tr></thead>
    <tbody>${order.slice(0, SHOWN).map(row)}</tbody>
    ${others.length > 0 && html`<tbody><tr><td colspan="4">
      <button class="fold" data-testid="picture-more" aria-expanded=${isOpen} onClick=${() => open(!isOpen)}>
        ${isOpen ? "▾" : "▸"} ${others.length} more dimensions, ${sum(others.map((i) => kl[i])).toFixed(2)} nats together
      </button>
    </td></tr></tbody>`}
    ${isOpen && html`<tbody>${others.map(row)}</tbody>`}
  </table>`;
}

function Dimension({ i, mu, sigma, kl, z }) {
  return html`<tr>
    <th scope="row">${i}</th>
    <td><div class="gauge">
      <i class="wide" /><i class="narrow" />
      <i class="sigma" style=${`left: ${percent(mu - sigma)}; right: calc(100% - ${percent(mu + sigma)})`} />
      <i class="mu" style=${`left: ${percent(mu)}`} />
      ${z !== mu && html`<i class="z" style=${`left: ${percent(z)}`} />`}
    </div></td>
    <td>${signed(mu)} ${sigma < 0.005 ? "± <0.01" : `± ${sigma.toFixed(2)}`}</td>
    <td>${kl.toFixed(2)}</td>
  </tr>`;
}
