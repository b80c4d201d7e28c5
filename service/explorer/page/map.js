// The part "Map": items as dots on a plane, the pictures of that plane behind them, and where there is no data.
// Knows nothing of how they are drawn.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { itemRequest, sendForJson, useAnswer } from "./api.js";
import { Copy, Part, Trouble, choose, useWidth } from "./controls.js";
import { decodeRequest, readPictures } from "./decoded.js";
import { listen } from "./gestures.js";
import { isWide, worded } from "./kinds.js";
import { LassoItems } from "./lasso_items.js";
import { MapCanvas } from "./map_canvas.js";
import { useItems } from "./map_items.js";
import { isPolygon, marksOf, mutedOf, pairs, usePaths } from "./map_marks.js";
import { Legend, Settings } from "./map_settings.js";
import { useNotice } from "./notice.js";
import { View, inside, lift, nearest, project, viewOf } from "./plane.js";
import { Pointed } from "./pointed.js";
import { set } from "./state.js";
import { useTiles } from "./tiles.js";

const TALLEST = 600; // CSS pixels
const REACH = 4; // pixels from a click to an item that it chooses
const REACH_TOUCH = 12;
const MOST_CORNERS = 60;
const STEP = 10; // pixels of an arrow key
const SCROLLED = { touch: "Two fingers move the map", wheel: "Ctrl + scroll zooms, or click the map first" };
const NO_DOTS = { points: new Float32Array(0), classes: [], of: [], isMuted: null };
const BEHIND = "Behind the dots: what the model draws at that place.";
const GESTURES = "Point to see it large, click to choose it, drag to move, zoom with + and −.";
const KEYS = `Drag to move, scroll with Ctrl to zoom, or without it once the map was clicked, drag with Shift to select an area (the
  lasso). On a touch screen, one finger scrolls the page, two move and zoom the map, a tap chooses; after the button "select an area",
  one finger draws it. Keys: arrows move the pointer, Enter chooses, + and - zoom, 0 shows all, a and b make the point an end of the
  path, l selects an area: Space sets a corner, Enter closes it, Escape clears it. Letters on the map: z is the point that all parts
  show, h where the sliders start, A and B are the ends of the path; an arrow at the edge points to what is outside.`;

const rounded = (value) => Number(value.toPrecision(5));

export function MapPart({ model, collection, unread, state }) {
  if (model.latent_dim > 1) return html`<${Plane} ...${{ model, collection, unread, state }} />`;
  return html`<${Part} id="map" title="Map"><p>A map needs two dimensions; the latents of this model have one.</p></${Part}>`;
}

function Plane({ model, collection, unread, state }) {
  const items = useItems(model, collection, state);
  const { plane, points } = items;
  const [box, width] = useWidth();
  const height = Math.min(width, TALLEST);
  const hidden = state.hide?.split(",") ?? [];
  const view = useMemo(() => {
    if (!plane || !width) return null;
    return state.view?.length === 3 ? new View(...state.view, [width, height]) : viewOf(items.ends, [width, height]);
  }, [plane, items.ends, state.view?.join(), width]);
  const grid = useTiles(model, plane, hidden.includes("pictures") ? null : view);
  const [at, point] = useState(null); // where the pointer or the crosshair is: {x, y, item, time}
  const [isLasso, setLasso] = useState(false);
  const [notice, notify] = useNotice();
  const [trouble, setTrouble] = useState(null);
  const paths = usePaths();
  const decoded = useAnswer(at && plane ? decodeRequest(model, [lift(plane, at.x, at.y)]) : null, readPictures);
  const picture = useMemo(() => decoded.answer && asCanvas(decoded.answer[0], isWide(model)), [decoded.answer]);
  const chosen = useMemo(() => (isPolygon(state.lasso) ? inside(state.lasso, points) : null), [state.lasso?.join(), points]);
  const isMuted = useMemo(() => mutedOf(items, chosen, state.highlight), [items.of, chosen, state.highlight]);

  // What the listeners of the canvas, which are set once, need of now.
  const now = useRef({}).current;
  Object.assign(now, { paths, collection, state, items, isLasso, at, picture, canvas: now.canvas ?? null });
  const canvases = { pictures: useRef(null), points: useRef(null), marks: useRef(null) };

  const drawMarks = () => {
    const lasso = now.corners ?? (isPolygon(now.state.lasso) && pairs(now.state.lasso));
    const pointer = now.isOver && now.at && [now.at.x, now.at.y];
    now.canvas.drawMarks({ ...marksOf(now), lasso, pointer, picture: now.picture, item: now.isOver && itemAt(now) });
  };
  // Nobody reads data-redraw-ms and data-pointer-ms here: they are for measurements from outside, which the page has to pass.
  const draw = () => {
    const milliseconds = now.canvas.draw();
    canvases.marks.current.dataset.redrawMs = milliseconds.toFixed(2);
    drawMarks();
  };
  const drawSoon = () => (now.frame ??= requestAnimationFrame(() => { now.frame = null; draw(); }));
  const show = (moved) => {
    now.canvas.view = moved;
    drawSoon();
    clearTimeout(now.settling);
    now.settling = setTimeout(settle, 250);
  };
  const settle = () => {
    clearTimeout(now.settling);
    const { x, y, width: across } = now.canvas.view;
    set({ view: [x, y, across].map(rounded) }, { undoable: false });
  };
  const hover = (px, py, reach = REACH) => {
    const [x, y] = now.canvas.view.toPlane(px, py);
    now.isOver = true;
    point({ x, y, item: nearest(now.items.points, x, y, reach / now.canvas.view.unit), time: performance.now() });
  };
  const chooseAt = async ({ x, y, item }) => {
    setTrouble(null);
    if (item < 0) return choose(lift(now.items.plane, x, y));
    if (now.items.z) return choose(now.items.z[item]);
    try {
      const id = now.items.ids[item];
      choose((await sendForJson(itemRequest(now.collection, id))).mu, { item: id });
    } catch (error) {
      setTrouble(error);
    }
  };
  const lassoed = () => {
    const corners = now.corners ?? [];
    now.corners = null;
    if (corners.length < 3) return drawMarks();
    const share = Math.max(1, corners.length / MOST_CORNERS);
    set({ lasso: corners.filter((_, i) => Math.floor(i / share) !== Math.floor((i - 1) / share)).flat().map(rounded) });
    setLasso(false);
  };

  useEffect(() => {
    const canvas = new MapCanvas(Object.fromEntries(Object.entries(canvases).map(([name, ref]) => [name, ref.current])));
    now.canvas = canvas;
    canvas.dress();
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const dress = () => { canvas.dress(); draw(); };
    scheme.addEventListener("change", dress);
    const onceShown = (act) => (...values) => now.items.plane && canvas.view && act(...values); // there may be no answer yet
    const stop = listen(canvases.marks.current, {
      hover: onceShown(hover),
      leave: () => { now.isOver = false; drawMarks(); },
      click: onceShown((px, py, isTouch) => {
        const [x, y] = canvas.view.toPlane(px, py);
        chooseAt({ x, y, item: nearest(now.items.points, x, y, (isTouch ? REACH_TOUCH : REACH) / canvas.view.unit) });
      }),
      drag: onceShown((dx, dy) => show(canvas.view.movedBy(dx, dy))),
      dragged: onceShown(settle),
      zoom: onceShown((factor, px, py) => show(canvas.view.zoomedBy(factor, px, py))),
      scrolled: (by) => notify(SCROLLED[by]),
      isLasso: (event) => event.shiftKey || now.isLasso,
      lasso: onceShown((corners) => { now.corners = corners.map((corner) => canvas.view.toPlane(...corner)); drawMarks(); }),
      lassoed: onceShown(lassoed),
    });
    return () => { stop(); scheme.removeEventListener("change", dress); clearTimeout(now.settling); };
  }, []);

  useLayoutEffect(() => { // not in the first round: the canvas is made after it
    const { canvas } = now;
    if (!canvas || !view) return;
    if (now.size !== view.size.join()) canvas.resize(...view.size);
    now.size = view.size.join();
    if (now.settled !== view) canvas.settle((now.settled = view)); // else a gesture may have moved it since
    canvas.whole = viewOf(items.ends, view.size).width;
    canvas.tiles = hidden.includes("pictures") || grid.tiles?.plane !== plane ? null : grid.tiles;
    canvas.circles = collection ? null : project(plane, Array(model.latent_dim).fill(0));
    if (items.density !== canvas.density) canvas.setDensity(items.density);
    canvas.dots = hidden.includes("points") ? NO_DOTS : { ...items, isMuted };
    draw();
  }, [view, plane, grid.tiles, items.density, points, items.of, isMuted, state.hide]);
  useLayoutEffect(() => {
    if (!now.canvas || !view) return;
    drawMarks();
    if (picture && at) canvases.marks.current.dataset.pointerMs = (performance.now() - at.time).toFixed(1);
  }, [picture, at, state.z, state.home, state.lasso, paths]);

  const moveCrosshair = (dx, dy) => {
    const { view: seen } = now.canvas;
    const start = now.at ? [now.at.x, now.at.y] : state.z && plane ? project(plane, state.z) : [seen.x, seen.y];
    let [px, py] = seen.toPixels(...start);
    [px, py] = [px + dx, py + dy];
    const [wide, high] = seen.size;
    const outside = [px - Math.min(wide - 20, Math.max(20, px)), py - Math.min(high - 20, Math.max(20, py))];
    if (outside.some(Boolean)) show(seen.movedBy(-outside[0], -outside[1]));
    hover(px - outside[0], py - outside[1]);
  };
  const addCorner = () => {
    now.corners = [...(now.corners ?? []), [now.at.x, now.at.y]];
    drawMarks();
  };
  const keys = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !now.canvas?.view) return;
    const far = event.shiftKey ? 4 * STEP : STEP;
    const press = {
      ArrowLeft: () => moveCrosshair(-far, 0),
      ArrowRight: () => moveCrosshair(far, 0),
      ArrowUp: () => moveCrosshair(0, -far),
      ArrowDown: () => moveCrosshair(0, far),
      Enter: () => (isLasso ? lassoed() : now.at && chooseAt(now.at)),
      " ": () => isLasso && now.at && addCorner(),
      "+": () => zoom(1.5),
      "=": () => zoom(1.5),
      "-": () => zoom(1 / 1.5),
      0: () => set({ view: null }, { undoable: false }),
      a: () => now.at && set({ a: lift(plane, now.at.x, now.at.y) }),
      b: () => now.at && set({ b: lift(plane, now.at.x, now.at.y) }),
      l: () => setLasso(!isLasso),
      Escape: () => { now.corners = null; setLasso(false); set({ lasso: null }); },
    }[event.key];
    if (!press) return;
    event.preventDefault();
    press();
  };
  const zoom = (factor) => {
    const seen = now.canvas?.view;
    if (!seen) return;
    const place = now.isOver && now.at ? seen.toPixels(now.at.x, now.at.y) : [];
    show(seen.zoomedBy(factor, ...place));
  };

  const hasPictures = grid.view === view || hidden.includes("pictures");
  const isBusy = !(view && hasPictures && (items.density || !items.hasDensity || items.error));
  const asked = [...items.asked, grid.asked];
  const copy = useMemo(() => html`<${Copy} asked=${asked} testid="map-copy" />`, asked);
  const dots = collection ? worded(model, "a picture that was encoded") : "a random point of the prior";
  const count = points.length / 2;
  const leave = () => { now.isOver = false; drawMarks(); };
  return html`<${Part} id="map" title="Map" hint="Each dot is ${dots}. ${BEHIND} ${GESTURES}">
    <${Settings} ...${{ model, collection, state, items, isLasso, setLasso, zoom }} />
    <${Trouble} error=${items.error ?? grid.error ?? trouble} />
    <div class="map-body">
      <div class="map-canvas" ref=${box} style="height:${height}px" aria-busy=${isBusy} data-testid="map-view">
        <canvas ref=${canvases.pictures} aria-hidden="true" data-testid="map-pictures" />
        <canvas ref=${canvases.points} aria-hidden="true" />
        <canvas ref=${canvases.marks} class=${isLasso ? "lasso" : ""} tabindex="0" role="application"
          aria-label="Map of ${count} ${collection ? "items" : "random points of the prior"}"
          aria-describedby="map-keys" data-carries data-testid="map-canvas" data-points=${count}
          onKeyDown=${keys} onFocus=${() => (now.isOver = true)} onBlur=${leave} />
        ${notice && html`<p class="notice" data-testid="map-notice">${notice}</p>`}
      </div>
      <${Pointed} ...${{ model, collection, items, at, picture, decoded }} />
    </div>
    <${Legend} ...${{ model, collection, unread, state, items, paths }} />
    ${chosen && html`<${LassoItems} ...${{ collection, items, chosen }} />`}
    <details class="hint"><summary>Gestures, keys and letters</summary><p id="map-keys">${KEYS}</p></details>
    ${copy}
  </${Part}>`;
}

const itemAt = ({ at, items }) => (at?.item >= 0 ? [items.points[2 * at.item], items.points[2 * at.item + 1]] : null);

function asCanvas(image, isWide) {
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height, isWide });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
