// The part "Map": items as points of a plane, the pictures of that plane behind them, and where there are no data.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { itemRequest, sendForJson, useAnswer } from "./api.js";
import { Chosen } from "./chosen.js";
import { Copy, Part, Trouble, choose, useWidth } from "./controls.js";
import { decodeRequest, readPictures } from "./decoded.js";
import { listen } from "./gestures.js";
import { useItems } from "./map_items.js";
import { Legend, Settings } from "./map_settings.js";
import { Drawing } from "./map_drawing.js";
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
const HINT = "Each dot is a picture that was encoded. Behind the dots: what the model draws at that place. Point to see it large, click to choose it, drag to move, zoom with + and −.";

const rounded = (value) => Number(value.toPrecision(5));

export function Map({ model, collection, unread, state }) {
  if (model.latent_dim < 2) return html`<${Part} id="map" title="Map"><p>A map needs two dimensions; the latents of this model have one.</p></${Part}>`;
  return html`<${Plane} ...${{ model, collection, unread, state }} />`;
}

function Plane({ model, collection, unread, state }) {
  const items = useItems(model, collection, state);
  const { plane, points } = items;
  const [box, width] = useWidth();
  const height = Math.min(width, TALLEST);
  const hidden = state.hide?.split(",") ?? [];
  const view = useMemo(() => (!plane || !width ? null : state.view?.length === 3 ? new View(...state.view, [width, height]) : viewOf(items.ends, [width, height])), [plane, items.ends, state.view?.join(), width]);
  const grid = useTiles(model, plane, hidden.includes("pictures") ? null : view);
  const [at, point] = useState(null); // where the pointer or the crosshair is: {x, y, item, time}
  const [isLasso, setLasso] = useState(false);
  const [notice, notify] = useNotice();
  const [trouble, setTrouble] = useState(null);
  const paths = usePaths();
  const decoded = useAnswer(at && plane ? decodeRequest(model, [lift(plane, at.x, at.y)]) : null, readPictures);
  const picture = useMemo(() => decoded.answer && asCanvas(decoded.answer[0]), [decoded.answer]);
  const chosen = useMemo(() => (isPolygon(state.lasso) ? inside(state.lasso, points) : null), [state.lasso?.join(), points]);
  const isMuted = useMemo(() => mutedOf(items, chosen, state.highlight), [items.of, chosen, state.highlight]);

  // What the listeners of the canvas, which are set once, need of now.
  const now = useRef({}).current;
  Object.assign(now, { paths, collection, state, items, isLasso, at, picture, drawing: now.drawing ?? null });
  const canvases = { pictures: useRef(null), points: useRef(null), marks: useRef(null) };

  const drawMarks = () => now.drawing.drawMarks({ ...marksOf(now), lasso: now.corners ?? (isPolygon(now.state.lasso) && pairs(now.state.lasso)), pointer: now.isOver && now.at && [now.at.x, now.at.y], picture: now.picture, item: now.isOver && itemAt(now) });
  const draw = () => {
    const milliseconds = now.drawing.draw();
    canvases.marks.current.dataset.redrawMs = milliseconds.toFixed(2);
    drawMarks();
  };
  const drawSoon = () => (now.frame ??= requestAnimationFrame(() => { now.frame = null; draw(); }));
  const show = (moved) => {
    now.drawing.view = moved;
    drawSoon();
    clearTimeout(now.settling);
    now.settling = setTimeout(settle, 250);
  };
  const settle = () => {
    clearTimeout(now.settling);
    const { x, y, width: across } = now.drawing.view;
    set({ view: [x, y, across].map(rounded) }, { undoable: false });
  };
  const hover = (px, py, reach = REACH) => {
    const [x, y] = now.drawing.view.toPlane(px, py);
    now.isOver = true;
    point({ x, y, item: nearest(now.items.points, x, y, reach / now.drawing.view.unit), time: performance.now() });
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
    const drawing = new Drawing(Object.fromEntries(Object.entries(canvases).map(([name, ref]) => [name, ref.current])));
    now.drawing = drawing;
    drawing.dress();
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const dress = () => { drawing.dress(); draw(); };
    scheme.addEventListener("change", dress);
    const onceShown = (act) => (...values) => now.items.plane && drawing.view && act(...values); // there may be no answer yet
    const stop = listen(canvases.marks.current, {
      hover: onceShown(hover),
      leave: () => { now.isOver = false; drawMarks(); },
      click: onceShown((px, py, isTouch) => {
        const [x, y] = drawing.view.toPlane(px, py);
        chooseAt({ x, y, item: nearest(now.items.points, x, y, (isTouch ? REACH_TOUCH : REACH) / drawing.view.unit) });
      }),
      drag: onceShown((dx, dy) => show(drawing.view.movedBy(dx, dy))),
      dragged: onceShown(settle),
      zoom: onceShown((factor, px, py) => show(drawing.view.zoomedBy(factor, px, py))),
      scrolled: (by) => notify(SCROLLED[by]),
      isLasso: (event) => event.shiftKey || now.isLasso,
      lasso: onceShown((corners) => { now.corners = corners.map((corner) => drawing.view.toPlane(...corner)); drawMarks(); }),
      lassoed: onceShown(lassoed),
    });
    return () => { stop(); scheme.removeEventListener("change", dress); clearTimeout(now.settling); };
  }, []);

  useLayoutEffect(() => { // not in the first round: the drawing is made after it
    if (!now.drawing || !view) return;
    if (now.size !== view.size.join()) now.drawing.resize(...view.size);
    now.size = view.size.join();
    if (now.settled !== view) now.drawing.view = now.settled = view; // else a gesture may have moved it since
    Object.assign(now.drawing, { whole: viewOf(items.ends, view.size).width, tiles: hidden.includes("pictures") || grid.tiles?.plane !== plane ? null : grid.tiles, circles: collection ? null : project(plane, Array(model.latent_dim).fill(0)) });
    if (items.density !== now.drawing.density) now.drawing.setDensity(items.density);
    now.drawing.dots = hidden.includes("points") ? { points: new Float32Array(0), classes: [], of: [], isMuted: null } : { ...items, isMuted };
    draw();
  }, [view, plane, grid.tiles, items.density, points, items.of, isMuted, state.hide]);
  useLayoutEffect(() => {
    if (!now.drawing || !view) return;
    drawMarks();
    if (picture && at) canvases.marks.current.dataset.pointerMs = (performance.now() - at.time).toFixed(1);
  }, [picture, at, state.z, state.home, state.lasso, paths]);

  const moveCrosshair = (dx, dy) => {
    const { drawing } = now;
    const start = now.at ? [now.at.x, now.at.y] : state.z && plane ? project(plane, state.z) : [drawing.view.x, drawing.view.y];
    let [px, py] = drawing.view.toPixels(...start);
    [px, py] = [px + dx, py + dy];
    const [wide, high] = drawing.view.size;
    const outside = [px - Math.min(wide - 20, Math.max(20, px)), py - Math.min(high - 20, Math.max(20, py))];
    if (outside.some(Boolean)) show(drawing.view.movedBy(-outside[0], -outside[1]));
    hover(px - outside[0], py - outside[1]);
  };
  const keys = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !now.drawing?.view) return;
    const far = event.shiftKey ? 4 * STEP : STEP;
    const press = {
      ArrowLeft: () => moveCrosshair(-far, 0),
      ArrowRight: () => moveCrosshair(far, 0),
      ArrowUp: () => moveCrosshair(0, -far),
      ArrowDown: () => moveCrosshair(0, far),
      Enter: () => (isLasso ? lassoed() : now.at && chooseAt(now.at)),
      " ": () => isLasso && now.at && ((now.corners = [...(now.corners ?? []), [now.at.x, now.at.y]]), drawMarks()),
      "+": () => zoom(1.5),
      "=": () => zoom(1.5),
      "-": () => zoom(1 / 1.5),
      0: () => set({ view: null }),
      a: () => now.at && set({ a: lift(plane, now.at.x, now.at.y) }),
      b: () => now.at && set({ b: lift(plane, now.at.x, now.at.y) }),
      l: () => setLasso(!isLasso),
      Escape: () => { now.corners = null; setLasso(false); set({ lasso: null }); },
    }[event.key];
    if (!press) return;
    event.preventDefault();
    press();
  };
  const zoom = (factor) => now.drawing?.view && show(now.drawing.view.zoomedBy(factor, ...(now.isOver && now.at ? now.drawing.view.toPixels(now.at.x, now.at.y) : [])));

  const isBusy = !(view && (grid.view === view || hidden.includes("pictures")) && (items.density || !items.hasDensity || items.error));
  const asked = [...items.asked, grid.asked];
  const copy = useMemo(() => html`<${Copy} asked=${asked} testid="map-copy" />`, asked);
  return html`<${Part} id="map" title="Map" hint=${HINT}>
    <${Settings} ...${{ model, collection, state, items, isLasso, setLasso, zoom }} />
    <${Trouble} error=${items.error ?? grid.error ?? trouble} />
    <div class="map-body">
      <div class="map-canvas" ref=${box} style="height:${height}px" aria-busy=${isBusy} data-testid="map-view">
        <canvas ref=${canvases.pictures} aria-hidden="true" data-testid="map-pictures" /><canvas ref=${canvases.points} aria-hidden="true" />
        <canvas ref=${canvases.marks} class=${isLasso ? "lasso" : ""} tabindex="0" role="application" aria-label="Map of ${collection ? `${points.length / 2} items` : "draws from the prior"}"
          aria-describedby="map-keys" data-carries data-testid="map-canvas" data-points=${points.length / 2} onKeyDown=${keys} onFocus=${() => (now.isOver = true)} onBlur=${() => { now.isOver = false; drawMarks(); }} />
        ${notice && html`<p class="notice" data-testid="map-notice">${notice}</p>`}
      </div>
      <${Pointed} ...${{ model, collection, items, at, picture, decoded }} />
    </div>
    <${Legend} ...${{ model, collection, unread, state, items }} />
    ${chosen && html`<${Chosen} ...${{ collection, items, chosen }} />`}
    <details class="hint"><summary>Gestures, keys and letters</summary><p id="map-keys">Drag to move, scroll with Ctrl to zoom, or without it once the map was clicked, drag with Shift to choose several items. On a touch screen, one finger scrolls the page, two move and zoom the map, a tap chooses; after the button lasso, one finger draws it. Keys: arrows move the pointer, Enter chooses, + and - zoom, 0 shows all, a and b make the point an end of the path, l is the lasso: Space sets a corner, Enter closes it, Escape clears it. Letters on the map: z is the point that all parts show, h where the sliders start, A and B are the ends of the path; an arrow at the edge points to what is outside.</p></details>
    ${copy}
  </${Part}>`;
}

const isPolygon = (numbers) => numbers?.length > 5 && numbers.length % 2 === 0;
const pairs = (numbers) => numbers.flatMap((value, i) => (i % 2 ? [] : [[value, numbers[i + 1]]]));
const itemAt = ({ at, items }) => (at?.item >= 0 ? [items.points[2 * at.item], items.points[2 * at.item + 1]] : null);

/** The latents of the frames of each path that the part "Path" shows, the straight one first. */
function usePaths() {
  const [paths, setPaths] = useState([]);
  useEffect(() => {
    const take = (event) => setPaths(event.detail);
    addEventListener("paths-shown", take);
    return () => removeEventListener("paths-shown", take);
  }, []);
  return paths;
}

/** Where z, home, A, B and the paths lie on the plane. */
function marksOf({ state, items, paths }) {
  const isHere = (z) => items.plane && z?.length === items.plane.origin.length;
  const isMoved = state.z?.join() !== state.home?.join();
  const z = state.z ?? state.home ?? items.plane?.origin.map(() => 0);
  const marks = [[isMoved && (state.start ?? state.home), "h", [-1, -1]], [paths[0]?.[0], "A", [-1, 1]], [paths[0]?.at(-1), "B", [1, 1]], [z, "z", [1, -1]]];
  const place = (z) => project(items.plane, z);
  return {
    marks: marks.filter(([z]) => isHere(z)).map(([z, letter, corner]) => ({ letter, corner, at: place(z) })),
    paths: paths.filter(([z]) => isHere(z)).map((path) => path.map(place)),
  };
}

/** Which points are muted: those outside of the lasso, and those of other classes than the highlighted one. Null if none is. */
function mutedOf({ classes, of }, chosen, highlight) {
  const place = classes.findIndex(({ name }) => name === highlight);
  if (!chosen && place < 0) return null;
  const isMuted = new Uint8Array(of.length).fill(chosen ? 1 : 0);
  for (const i of chosen ?? []) isMuted[i] = 0;
  if (place >= 0) of.forEach((one, i) => one !== place && (isMuted[i] = 1));
  return isMuted;
}

function asCanvas(image) {
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}
