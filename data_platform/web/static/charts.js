// Draws the tables of figures of the class `chart` with uPlot: one drawing per column, over the same times. What stands
// above a drawing is the text of a cell: of the one under the pointer, or of the newest. A keyboard moves along it with
// the arrow keys. Colours are variables of the stylesheets. Not here: numbers and words (templates), connecting (watched.js).
"use strict";
(() => {
  const DAY = 86400;
  const NICE = [1, 2, 2.5, 5].flatMap((first) => Array.from({ length: 16 }, (_, power) => first * 10 ** (power - 5)));
  const INCREMENTS = NICE.map((one) => Number(one.toPrecision(2))).sort((one, other) => one - other);
  const WHOLE = INCREMENTS.filter(Number.isInteger);
  const FONT = "12px system-ui, sans-serif";
  const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
  const date = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const charts = new Map(); // figure -> its drawings

  const colour = (name) => () => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const value = (text) => (text === "" ? null : Number(text.replaceAll(",", "")));

  function moment(seconds, step) {
    if (step >= DAY) return date.format(seconds * 1000);
    return new Date(seconds * 1000).toISOString().slice(11, step < 60 ? 19 : 16);
  }

  const snapped = (plot, left) => Math.round(plot.valToPos(plot.data[0][plot.posToIdx(left)], "x"));

  // The columns of a table, oldest row first.
  function read(table) {
    const rows = [...table.tBodies[0].rows].reverse();
    const at = rows.map((row) => Number(row.cells[0].dataset.at));
    const times = rows.map((row) => row.cells[0].textContent);
    return [...table.tHead.rows[0].cells].slice(1).map((head, place) => {
      const texts = rows.map((row) => row.cells[place + 1].textContent);
      return { name: head.textContent, kind: head.dataset.kind, at, times, texts, values: texts.map(value) };
    });
  }

  function options(drawing, host, group) {
    const bars = drawing.column.kind === "bars";
    const whole = () => drawing.column.texts.every((text) => !text.includes("."));
    const line = { stroke: colour("--line"), width: 1 };
    return {
      width: host.clientWidth,
      height: host.clientHeight,
      padding: [10, 22, 0, 0], // half of a label may stand beyond the newest
      legend: { show: false },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "UTC"),
      cursor: {
        y: false,
        move: (plot, left, top) => [left < 0 ? left : snapped(plot, left), top],
        drag: { x: false, y: false },
        sync: { key: group },
        points: { size: 9, width: 2, stroke: colour("--card"), fill: colour("--bar") },
      },
      scales: {
        x: {
          // A bar is a step wide.
          range: (_, low, high) => {
            const half = bars ? (drawing.column.at[1] - drawing.column.at[0] || DAY) / 2 : 0;
            return [low - half, high + half];
          },
        },
        y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] },
      },
      axes: [
        {
          stroke: colour("--dim"),
          font: FONT,
          size: 30,
          space: (_, __, ___, ____, length) => (length < 400 ? 50 : 72),
          grid: { show: false },
          ticks: { ...line, size: 5 },
          border: { show: true, ...line },
          values: (_, splits, __, ___, step) => splits.map((seconds) => moment(seconds, step)),
        },
        {
          stroke: colour("--dim"),
          font: FONT,
          size: (plot, texts) => {
            plot.ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
            const widths = (texts ?? []).map((text) => plot.ctx.measureText(text).width / devicePixelRatio);
            return Math.ceil(Math.max(20, ...widths)) + 12;
          },
          space: 36,
          gap: 8,
          incrs: () => (whole() ? WHOLE : INCREMENTS),
          grid: line,
          ticks: { show: false },
          values: (_, splits) => splits.map((one) => short.format(one)),
        },
      ],
      series: [
        {},
        {
          stroke: bars ? null : colour("--bar"),
          fill: colour(bars ? "--bar" : "--area"),
          width: bars ? 0 : 2,
          points: { show: false },
          paths: bars ? uPlot.paths.bars({ size: [0.76, 48], radius: 0.08 }) : undefined,
        },
      ],
      hooks: { setCursor: [() => tell(drawing)] },
    };
  }

  // Says what stands at the cursor, or the newest.
  function tell(drawing) {
    const { plot, column, host } = drawing;
    const last = column.at.length - 1;
    const place = Math.min(plot?.cursor.idx ?? last, last);
    drawing.told.textContent = column.texts[place] || "–";
    drawing.when.textContent = column.times[place] ?? "";
    host.setAttribute("aria-valuemax", Math.max(last, 0));
    host.setAttribute("aria-valuenow", Math.max(place, 0));
    host.setAttribute("aria-valuetext", `${drawing.when.textContent}: ${drawing.told.textContent}`);
  }

  function move(drawing, event) {
    const { plot, column } = drawing;
    const last = column.at.length - 1;
    const here = plot.cursor.idx ?? last;
    const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: last, Escape: -1 }[event.key];
    if (to === undefined || last < 0) return;
    event.preventDefault();
    if (event.key === "Escape") return leave(plot);
    const place = Math.max(0, Math.min(to, last));
    plot.setCursor({ left: plot.valToPos(column.at[place], "x"), top: 0 }, true, true);
  }

  const leave = (plot) => plot.setCursor({ left: -10, top: -10 }, true, true);

  function element(kind, name, ...inside) {
    const made = document.createElement(kind);
    made.className = name;
    made.append(...inside);
    return made;
  }

  function begin(drawings, column, group) {
    const drawing = { column, told: element("output", "told"), when: element("span", "when") };
    drawing.told.setAttribute("aria-live", "off"); // it would speak without end
    const host = element("div", "drawing");
    for (const [name, text] of Object.entries({ role: "slider", "aria-label": column.name, "aria-valuemin": 0 })) {
      host.setAttribute(name, text);
    }
    host.tabIndex = 0;
    drawing.host = host;
    const legend = element("p", "legend-of", element("span", "name", column.name), drawing.told, drawing.when);
    drawings.append(element("div", "panel-of", legend, host));
    drawing.plot = new uPlot(options(drawing, host, group), [column.at, column.values], host);
    host.addEventListener("keydown", (event) => move(drawing, event));
    host.addEventListener("blur", () => leave(drawing.plot));
    // A finger has no hover: the value under it, while the page scrolls up and down as ever.
    drawing.plot.over.addEventListener("pointermove", (event) => {
      if (event.pointerType !== "mouse") {
        drawing.plot.setCursor({ left: event.offsetX, top: event.offsetY }, true, true);
      }
    });
    new ResizeObserver(() => {
      if (host.clientWidth) drawing.plot.setSize({ width: host.clientWidth, height: host.clientHeight });
    }).observe(host);
    return drawing;
  }

  function renew(drawing, column) {
    const before = drawing.column;
    drawing.column = column;
    const moved = before.at.at(-1) !== column.at.at(-1) || before.at.length !== column.at.length;
    const changed = moved || column.texts.some((text, place) => text !== before.texts[place]);
    // Whoever wants little motion sees a drawing change once a step; the words above it and the table always hold.
    if (calm.matches ? moved : changed) drawing.plot.setData([column.at, column.values]);
    if (changed) tell(drawing);
  }

  function draw() {
    for (const [figure, drawings] of charts) {
      if (figure.isConnected) continue;
      drawings.forEach((drawing) => drawing.plot.destroy());
      charts.delete(figure);
    }
    for (const figure of document.querySelectorAll("figure.chart")) {
      const columns = read(figure.querySelector("table"));
      const known = charts.get(figure);
      if (known && known.length === columns.length) {
        known.forEach((drawing, place) => renew(drawing, columns[place]));
        continue;
      }
      const drawings = figure.querySelector(".drawings");
      drawings.replaceChildren();
      figure.querySelector("details").open = false;
      const group = `chart ${charts.size}`;
      const made = columns.map((column) => begin(drawings, column, group));
      made.forEach(tell);
      charts.set(figure, made);
    }
  }

  dark.addEventListener("change", () => [...charts.values()].flat().forEach((drawing) => drawing.plot.redraw()));
  document.addEventListener("renewed", draw);
  draw();
})();
