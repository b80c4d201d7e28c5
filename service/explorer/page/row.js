// A row of buttons that is one stop of the Tab key, as a toolbar is: arrow keys, Home and End move between its buttons.
// Knows nothing of what the buttons do.

import { html, useLayoutEffect, useRef } from "./vendor/preact-htm.js";

/** `as`: the element that the row is. The stop is the button that had the focus last, or else the current one, or the first one. */
export function Row({ as = "div", children, ...properties }) {
  const row = useRef(null);
  const last = useRef(null);
  const buttons = () => [...row.current.querySelectorAll("button:not(:disabled)")];
  const stopAt = (stop) => buttons().forEach((one) => (one.tabIndex = one === stop ? 0 : -1));
  useLayoutEffect(() => {
    const isCurrent = (one) => one.matches("[aria-current=true], [aria-pressed=true]");
    const all = buttons();
    stopAt(all.find((one) => one === last.current) ?? all.find(isCurrent) ?? all[0]);
  });
  const focus = (event) => {
    last.current = event.target.closest("button");
    stopAt(last.current);
  };
  const keys = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const all = buttons();
    const top = (one) => one.getBoundingClientRect().top;
    const columns = all.filter((one) => top(one) === top(all[0])).length;
    const at = all.indexOf(event.target.closest("button"));
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - columns, ArrowDown: at + columns, Home: 0, End: all.length - 1 }[event.key];
    if (!all[to]) return;
    event.preventDefault();
    all[to].focus();
  };
  return html`<${as} ...${properties} ref=${row} onKeyDown=${keys} onFocusCapture=${focus}>${children}</${as}>`;
}
