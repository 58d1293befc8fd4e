"use strict";
// Everything below writes text, never HTML: names of strategies, classes and files are strangers'.

const DATA = JSON.parse(document.getElementById("data").textContent);
const { facts: FACTS, charts: CHARTS, config: CONFIG, figures: FIGURES, galleries: GALLERIES } = DATA;
const SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left"];
const DASHES = [[1, 0], [6, 3], [2, 2], [8, 2, 2, 2]];
const SVG = "http://www.w3.org/2000/svg";
const DASH = "–";
const ABOUT = {
  strategies: "the strategies, on pictures like these",
  set: "the strategies, on exactly these pictures",
  networks: "these trained networks, on pictures like these",
};
const state = { dataset: "", protocol: "", metric: FACTS.metrics[0], baseline: FACTS.blocks[0].baseline, text: "", sort: null };
const byId = (id) => document.getElementById(id);

// ---------------------------------------------------------------- elements and numbers

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const nameOf = (text) => make("bdi", { className: "name" }, text);
const sum = (numbers) => numbers.reduce((total, one) => total + one, 0);
const number = (value, digits = 1) => (value === null || value === undefined ? DASH : value.toFixed(digits));

/** +1.2, −0.3 or 0.0. */
function signed(value, digits = 1) {
  if (value === null) return DASH;
  const text = value.toFixed(digits);
  if (Number(text) === 0) return text.replace("-", "");
  return value > 0 ? `+${text}` : text.replace("-", "−");
}

/** Decimals of a difference: 1, or as many as it takes to see on which side of zero its interval ends. */
function digitsOf(mean, half) {
  const ends = [mean - (half ?? 0), mean + (half ?? 0)].filter((end) => Math.abs(end) >= 0.0005);
  return [1, 2].find((digits) => ends.every((end) => Number(end.toFixed(digits)) !== 0)) ?? 3;
}

function interval(mean, half) {
  if (half === null) return DASH;
  const digits = digitsOf(mean, half);
  return `[${signed(mean - half, digits).replace("+", "")}, ${signed(mean + half, digits).replace("+", "")}]`;
}

function probability(p) {
  if (p === null) return DASH;
  return p < 0.001 ? "< 0.001" : p.toFixed(p < 0.1 ? 3 : 2);
}

const verdictOf = (verdict) => (verdict === null ? "no verdict" : verdict > 0 ? "better" : verdict < 0 ? "worse" : "undecided");

// ---------------------------------------------------------------- what is looked at

const looks = (row) => {
  const place = FACTS.rows.indexOf(row);
  const round = Math.floor(place / 8);
  return { colour: `var(--s${place % 8})`, shape: SHAPES[round % SHAPES.length], dash: DASHES[round % DASHES.length] };
};
const wanted = (row) => {
  const words = state.text.trim().toLowerCase().split(/\s+/);
  return words.some((word) => row.toLowerCase().includes(word));
};
const blocksShown = () =>
  FACTS.blocks.filter(
    (block) => (!state.dataset || block.dataset === state.dataset) && (!state.protocol || block.protocol === state.protocol),
  );
const rowsOf = (block) => block.rows.filter(wanted);
const baselineOf = (block) => (block.rows.includes(state.baseline) ? state.baseline : block.baseline);
const titleOf = (block) => [nameOf(block.dataset), ...(block.protocol === "controlled" ? [] : [`, ${block.protocol} protocol`])];
const runsOf = (block, row) => FACTS.runs.filter((run) => run.key === block.key && run.row === row);

// ---------------------------------------------------------------- rows of the charts

/** Every other row against the baseline, turned so that the baseline is what is taken away. */
function against(block, metric, baseline) {
  const { pairs, families } = block.metrics[metric];
  const base = block.rows.indexOf(baseline);
  const found = [];
  pairs.a.forEach((a, place) => {
    const b = pairs.b[place];
    if (a !== base && b !== base) return;
    const sign = b === base ? 1 : -1;
    const other = b === base ? a : b;
    found.push({
      row: block.rows[other],
      mean: sign * pairs.mean[place],
      half: pairs.half[place],
      seedsHalf: pairs.seeds_half[place],
      p: pairs.p[place],
      p_family: families[baseline]?.p_family[other] ?? null,
      verdict: families[baseline]?.verdict[other] ?? null,
      dots: pairs.dots[place].map(([seed, value]) => [seed, sign * value]),
      about: pairs.about[place],
    });
  });
  return found.sort((one, other) => other.mean - one.mean);
}

const ROWS = {
  forest(block) {
    return against(block, state.metric, baselineOf(block)).filter((one) => wanted(one.row)).flatMap((one) => {
      const { colour } = looks(one.row);
      const half = one.half ?? 0;
      const told = { row: one.row, colour, about: ABOUT[one.about] };
      return [
        {
          ...told,
          kind: "row",
          mean: one.mean,
          low: one.mean - half,
          high: one.mean + half,
          seeds_low: one.mean - one.seedsHalf,
          seeds_high: one.mean + one.seedsHalf,
          fill: one.verdict ? colour : "var(--paper)",
          text: signed(one.mean, digitsOf(one.mean, one.half)),
          interval: interval(one.mean, one.half),
          verdict: verdictOf(one.verdict),
          p: probability(one.p),
          p_family: probability(one.p_family),
        },
        ...one.dots.map(([seed, value]) => ({ ...told, kind: "seed", mean: value, seed, text: signed(value) })),
      ];
    });
  },
  ranks(block) {
    const { ranks, best, estimates } = block.metrics[state.metric];
    return block.rows
      .map((row, place) => ({ row, bounds: ranks[place], best: best[place], mean: estimates[place].mean }))
      .filter((one) => one.bounds && wanted(one.row))
      .sort((one, other) => one.bounds[0] - other.bounds[0] || one.bounds[1] - other.bounds[1] || other.mean - one.mean)
      .map((one) => ({
        row: one.row,
        best: one.bounds[0] - 0.001, // a rule of length 0 is not drawn
        worst: one.bounds[1] + 0.001,
        colour: one.best ? looks(one.row).colour : "var(--p4)",
        text: one.bounds[0] === one.bounds[1] ? `${one.bounds[0]}` : `${one.bounds[0]} to ${one.bounds[1]}`,
        group: one.best ? "yes" : "no",
      }));
  },
  pairs(block) {
    const { pairs, estimates } = block.metrics[state.metric];
    const order = block.rows.map((_, place) => place).filter((place) => wanted(block.rows[place]) && estimates[place].mean !== null);
    order.sort((one, other) => estimates[other].mean - estimates[one].mean);
    const most = Math.max(...pairs.mean.map(Math.abs), 1e-9);
    const fields = new Map();
    pairs.a.forEach((a, place) => {
      for (const [one, other, sign] of [[a, pairs.b[place], 1], [pairs.b[place], a, -1]]) {
        const verdict = pairs.verdict[place] === null ? null : sign * pairs.verdict[place];
        const mean = sign * pairs.mean[place];
        fields.set(`${one} ${other}`, {
          a: block.rows[one],
          b: block.rows[other],
          text: signed(mean, digitsOf(mean, pairs.half[place])),
          short: signed(mean).replace("+", ""),
          interval: interval(mean, pairs.half[place]),
          p_family: probability(pairs.p_family[place]),
          verdict: verdictOf(verdict),
          fill: verdict === null ? "var(--none)" : verdict > 0 ? "var(--better)" : verdict < 0 ? "var(--worse)" : "var(--undecided)",
          strength: verdict ? 0.3 + (0.5 * Math.abs(mean)) / most : 1,
        });
      }
    });
    return order.flatMap((one) => order.map((other) => fields.get(`${one} ${other}`)).filter(Boolean));
  },
  positives: (block) => overTraining(block.assignment, "positives/", (value) => value.toPrecision(3)),
  without: (block) => overTraining(block.assignment, "without_positive/", percent),
  levels: (block) => overTraining(block.assignment, "level/", percent),
  common: (block) => overTraining(block.validation, "common/", (value) => value.toPrecision(4)),
  losses: (block) =>
    rowsOf(block).flatMap((row) => runsOf(block, row).flatMap((run) => points(run, "total", row))),
  learned(block) {
    return Object.entries(block.learned).filter(([row]) => wanted(row)).flatMap(([row, names]) =>
      Object.entries(names).flatMap(([name, classes]) =>
        Object.entries(classes).map(([label, value]) => ({
          row, panel: SYMBOLS[name] ?? name, label, value, text: signed(value, 3), ...looks(row),
        }))));
  },
  cost(block) {
    return Object.entries(block.cost).filter(([row]) => wanted(row)).flatMap(([row, cost]) =>
      Object.entries(cost.seconds).map(([part, seconds], order) => ({
        row, part, seconds, order, colour: `var(--p${order})`, text: number(seconds),
      })));
  },
};
const SYMBOLS = { mu_x: "μx, strides", mu_y: "μy, strides", sigma_x: "σx, strides", sigma_y: "σy, strides" };
const percent = (value) => `${(100 * value).toFixed(1)} %`;

function overTraining(curves, prefix, told) {
  return Object.entries(curves).filter(([row]) => wanted(row)).flatMap(([row, curve]) =>
    Object.entries(curve.values).filter(([name]) => name.startsWith(prefix)).flatMap(([name, values]) =>
      values.flatMap((value, place) => {
        const panel = name.slice(prefix.length);
        if (value === null) return [];
        return [{ row, panel, iteration: curve.iterations[place], value, text: told(value), ...looks(row) }];
      })));
}

/** One term of a run's loss: on the training pictures, and on the evaluation split where it is known. */
function points(run, term, panel) {
  const { colour, dash } = looks(run.row);
  const of = (curve, name, split, width) =>
    (curve.values[name] ?? []).flatMap((value, place) =>
      value === null ? [] : [{ panel, seed: run.seed, split, width, iteration: curve.iterations[place], value, text: value.toPrecision(4), colour, dash }]);
  return [...of(run.losses, term, "training", 1.75), ...of(run.validation, `validation/${term}`, "evaluation", 3.5)];
}

// ---------------------------------------------------------------- drawing

const queue = [];
const views = new Map(); // element → what vegaEmbed gave
let busy = false;

/** Charts are drawn one after the other, in between the page answers its reader. */
function enqueue(task) {
  queue.push(task);
  if (busy) return;
  busy = true;
  document.documentElement.dataset.drawing = "yes";
  (async () => {
    while (queue.length) {
      await new Promise((resume) => setTimeout(resume)); // the first time, until its place is in the page
      await queue.shift()();
    }
    busy = false;
    delete document.documentElement.dataset.drawing;
  })();
}

/** Names stay in the order of the rows; Vega-Lite would sort them, or lose their order between layers. */
function ordered(spec, rows) {
  const distinct = (field) => [...new Set(rows.map((row) => row[field]))];
  for (const unit of [spec, spec.spec ?? {}, ...(spec.layer ?? [])])
    for (const channel of [unit.encoding?.x, unit.encoding?.y, unit.facet])
      if (channel?.type === "nominal") channel.sort = distinct(channel.field === "b" ? "a" : channel.field);
}

function sized(spec, panel, width, rows) {
  const copy = structuredClone(spec);
  if (rows) ordered(copy, rows);
  if (panel === null) {
    const lines = rows ? new Set(rows.map((row) => row.row)).size : 0;
    if (copy.height?.step) copy.height = copy.height.step * lines;
    return { ...copy, width, autosize: { type: "fit-x", contains: "padding" } };
  }
  if (panel === 0) return copy;
  const panels = new Set(rows.map((row) => row.panel)).size;
  const lines = Math.ceil(panels / Math.max(1, Math.floor(width / panel)));
  const columns = Math.ceil(panels / lines);
  copy.columns = columns;
  const room = copy.spec.encoding.y.type === "nominal" ? 116 : 74; // for the labels of the axis
  copy.spec.width = Math.max(90, Math.floor(width / columns) - room);
  return copy;
}

function draw(element, spec, panel, rows) {
  enqueue(async () => {
    if (!element.isConnected) return;
    const given = sized(spec, panel, element.clientWidth, rows);
    if (rows) given.datasets = { rows };
    try {
      const result = await vegaEmbed(element, given, {
        mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false, config: CONFIG,
        tooltip: { disableDefaultStyle: true },
      });
      views.set(element, result);
    } catch (error) {
      element.textContent = `This chart could not be drawn: ${error.message}`;
      console.error(error);
    }
  });
}

function clear(element) {
  for (const [chart, result] of views) {
    if (element.contains(chart)) {
      result.finalize();
      views.delete(chart);
    }
  }
  element.replaceChildren();
}

/** Colours of the page are variables; a picture that leaves the page needs their values. */
function saveChart(element, name) {
  const drawn = element.querySelector("svg");
  if (!drawn) return;
  const probe = make("span", { hidden: true });
  document.body.append(probe);
  const text = new XMLSerializer().serializeToString(drawn).replace(/var\(--[\w-]+\)/g, (variable) => {
    probe.style.color = variable;
    return getComputedStyle(probe).color;
  });
  probe.remove();
  save(text, `${name}.svg`, "image/svg+xml");
}

function save(text, name, type) {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = make("a", { href: address, download: name.replace(/[^\w.-]+/g, "_") });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

function saveTable(table, name) {
  // a field that begins with = + - @ would be run by a spreadsheet; our own numbers may keep their sign
  const field = (cell) => {
    const text = cell.dataset.value ?? (cell.innerText || cell.textContent).trim().replace(/\s*\n\s*/g, " ").replace(/−(?=\d)/g, "-");
    const safe = /^[=@\t\r]|^[+-](?![\d.])/.test(text) ? `'${text}` : text;
    return /[",\n]/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
  };
  save([...table.rows].map((row) => [...row.cells].map(field).join(",")).join("\n") + "\n", `${name}.csv`, "text/csv");
}

/** Decimals of a column: none for whole numbers, else four digits for the largest. */
function decimals(values) {
  const known = values.filter((value) => typeof value === "number");
  if (known.every(Number.isInteger)) return 0;
  const most = Math.max(...known.map(Math.abs));
  return most ? Math.min(4, Math.max(1, 2 - Math.floor(Math.log10(most)))) : 1;
}

function tableOf(columns, rows) {
  const digits = columns.map((_, place) => decimals(rows.map((row) => row[place])));
  const numeric = columns.map((_, place) => rows.length > 0 && rows.every((row) => typeof row[place] === "number" || row[place] === null));
  const head = make("tr", {}, ...columns.map((title, place) => make("th", { scope: "col", className: numeric[place] ? "number" : "" }, make("bdi", {}, title))));
  const body = rows.map((row) =>
    make("tr", {}, ...row.map((value, place) => {
      const text = value === null || value === undefined ? DASH : typeof value === "number" ? value.toFixed(digits[place]).replace("-", "−") : String(value);
      return make(place ? "td" : "th", { className: numeric[place] ? "number" : "", ...(place ? {} : { scope: "row" }) }, make("bdi", {}, text));
    })));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
}

/** A chart with its sentence, and the same numbers as a table that the keyboard reaches. */
function figure(title, reading, numbers, chart) {
  const holder = make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": `Numbers: ${title}` });
  const fill = () => holder.childElementCount || holder.append(numbers());
  const details = make("details", {}, make("summary", {}, "The same as numbers"), holder);
  details.addEventListener("toggle", () => details.open && fill());
  details.fill = fill;
  const under = make("div", { className: "under" }, details);
  under.append(make("button", { type: "button", onclick: () => saveTable((fill(), holder.querySelector("table")), title) }, "CSV"));
  if (chart) under.append(make("button", { type: "button", onclick: () => saveChart(chart, title) }, "SVG"));
  return make("figure", {}, make("figcaption", {}, make("strong", {}, make("bdi", {}, title)), make("span", {}, reading)), chart ?? null, under);
}

function chartOf(name, block) {
  const { title, reading, spec, columns, panel } = CHARTS[name];
  const rows = ROWS[name](block);
  if (!rows.length) return make("p", { className: "absent" }, absent(name, block));
  const chart = make("div", { className: "chart", "data-chart": name, "data-key": block.key });
  const heading = { forest: `${title}: ${state.metric} against ${baselineOf(block)}`, ranks: `${title} in ${state.metric}`, pairs: `${title}: ${state.metric}` };
  const over = block.metrics[state.metric].errors[baselineOf(block)];
  const settled = block.metrics[state.metric].pairs.verdict.some((one) => one !== null);
  const held = settled ? "verdicts hold after Holm's correction" : "no verdict may be read";
  const extra = name === "forest" && over ? `Intervals are over ${over}; ${held}.` : "";
  const shown = figure(heading[name] ?? title, `${reading} ${extra}`.trim(), () => NUMBERS[name]?.(block, rows) ?? plainNumbers(columns, rows), chart);
  if (name === "cost") chart.before(partsLegend(rows));
  draw(chart, spec, panel, rows);
  return shown;
}

const partsLegend = (rows) =>
  make("div", { className: "legend", "aria-hidden": "true" }, ...[...new Set(rows.map((row) => row.part))].map((part, place) => {
    const chip = make("span", { className: "chip" });
    chip.style.background = `var(--p${place})`;
    return make("span", {}, chip, part);
  }));

const plainNumbers = (columns, rows) =>
  tableOf(columns.map(([, title]) => title), rows.filter((row) => row.kind !== "seed").map((row) => columns.map(([field]) => row[field] ?? null)));

const NUMBERS = {
  positives: (block) => lastOf(block.assignment, "positives/"),
  without: (block) => lastOf(block.assignment, "without_positive/"),
  levels: (block) => lastOf(block.assignment, "level/"),
  common: (block) => lastOf(block.validation, "common/", "strategy, end of training"),
  losses: (block, rows) => {
    const last = new Map(rows.map((row) => [`${row.panel}\n${row.seed}\n${row.split}`, row]));
    return plainNumbers(CHARTS.losses.columns, [...last.values()]);
  },
  pairs: (block, rows) => {
    const seen = new Set();
    const once = rows.filter((row) => !seen.has(`${row.b}\n${row.a}`) && seen.add(`${row.a}\n${row.b}`));
    return plainNumbers(CHARTS.pairs.columns, once);
  },
  cost: (block) =>
    tableOf(
      ["strategy", "data, s", "network, s", "assignment, s", "evaluation, s", "other, s", "total, s", "assignment's share, %", "images a second in training", "parameters"],
      Object.entries(block.cost).filter(([row]) => wanted(row)).map(([row, cost]) => {
        const parts = Object.values(cost.seconds);
        return [row, ...parts, sum(parts), 100 * cost.assignment, cost.images_per_second, cost.parameters];
      }),
    ),
};

/** Strategy beside strategy, at the end of training. */
function lastOf(curves, prefix, heading = "strategy, last epoch") {
  const rows = Object.entries(curves).filter(([row]) => wanted(row));
  const names = [...new Set(rows.flatMap(([, curve]) => Object.keys(curve.values)))].filter((name) => name.startsWith(prefix));
  const scale = prefix === "positives/" || prefix === "common/" ? 1 : 100;
  const unit = scale === 1 ? "" : ", %";
  return tableOf(
    [heading, ...names.map((name) => name.slice(prefix.length) + unit)],
    rows.map(([row, curve]) => [row, ...names.map((name) => {
      const value = curve.values[name]?.at(-1);
      return value === null || value === undefined ? null : scale * value;
    })]),
  );
}

function absent(name, block) {
  if (state.text && ROWS[name] && name !== "ranks") return "No strategy with this name has anything to show here.";
  return {
    forest: "There is nothing to hold against the baseline: no other strategy shares a seed with it, or one seed is all there is and its detections are missing.",
    ranks: "Ranks: no verdict may be read, which takes three seeds.",
    pairs: "There are no pairs to compare.",
    learned: "No strategy here has parameters of its own to report.",
    losses: "No losses were kept.",
    common: "The loss that is the same for all was not asked for: train.validate_every = 0 in these runs.",
  }[name] ?? `No ${name} were kept for these runs.`;
}

function drawCharts(holder) {
  clear(holder);
  const blocks = blocksShown();
  for (const block of blocks) {
    const box = make("div", { className: "block", "data-key": block.key });
    holder.append(box);
    if (FACTS.blocks.length > 1) box.append(make("h3", {}, ...titleOf(block)));
    for (const name of holder.dataset.charts.split(" ")) box.append(chartOf(name, block));
    if (holder.dataset.charts.includes("learned") && block.learned_left_out)
      box.append(make("p", { className: "absent" }, `Learned numbers of ${block.learned_left_out} more classes are in the records.`));
  }
}

function drawFigures(holder) {
  clear(holder);
  const keys = blocksShown().map((block) => block.key);
  const bases = blocksShown().map(baselineOf);
  const shown = FIGURES[holder.dataset.figures].filter(
    ({ when }) =>
      (!when.dataset || keys.includes(when.dataset)) &&
      (!when.metric || when.metric === state.metric) &&
      (!when.baseline || bases.includes(when.baseline)),
  );
  if (holder.dataset.figures === "analysis")
    for (const block of blocksShown())
      if (baselineOf(block) !== block.baseline)
        holder.append(make("p", { className: "absent" }, nameOf(block.dataset), ": these figures are against ", nameOf(block.baseline), ", the baseline that the page was made with."));
  if (!shown.length) holder.append(make("p", { className: "absent" }, "Nothing of this kind was computed for what is chosen above."));
  for (const { title, reading, columns, rows, spec } of shown) {
    const chart = spec ? make("div", { className: "chart" }) : null;
    const own = figure(title, reading, () => tableOf(columns, rows), chart);
    if (!spec) own.querySelector("details").open = true;
    holder.append(own);
    if (spec) draw(chart, spec, spec.facet || spec.hconcat || spec.vconcat || spec.concat ? 0 : null, null);
  }
}

function drawLegend(holder) {
  const rows = [...new Set(blocksShown().flatMap(rowsOf))];
  holder.replaceChildren(...rows.map((row) => {
    const { colour, dash } = looks(row);
    const line = document.createElementNS(SVG, "svg");
    line.setAttribute("width", 26);
    line.setAttribute("height", 8);
    const stroke = document.createElementNS(SVG, "line");
    for (const [name, value] of Object.entries({ x1: 1, x2: 25, y1: 4, y2: 4, stroke: colour, "stroke-width": 3, "stroke-dasharray": dash.join(" ") }))
      stroke.setAttribute(name, value);
    line.append(stroke);
    return make("span", {}, line, nameOf(row));
  }));
}

/** On how many data sets one strategy is shown to be better than the baseline. */
function drawOver() {
  const found = Object.entries(FACTS.over_datasets[state.metric]?.[state.baseline] ?? {}).filter(([row]) => wanted(row));
  const holder = byId("over");
  holder.replaceChildren();
  if (!found.length) return;
  const rows = found.map(([row, [better, worse, of]]) => [row, `${better} of ${of}`, `${worse} of ${of}`]);
  holder.append(
    make("h3", {}, "Over data sets"),
    figure(
      `${state.metric} against ${state.baseline}, over data sets`,
      "On how many data sets, at least, a strategy is better or worse than the baseline (one-sided tests, Holm over the data sets). There is no mean of APs: they have no common scale.",
      () => tableOf(["strategy", "better on at least", "worse on at least"], rows),
    ),
  );
  holder.querySelector("details").open = true;
}

// ---------------------------------------------------------------- the matrix

function columnsOf(blocks) {
  const first = { title: "strategy", key: "row", value: (row) => row };
  if (blocks.length === 1) {
    const [block] = blocks;
    const ranked = block.metrics[state.metric].ranks.some(Boolean);
    return [
      first,
      ...FACTS.metrics.map((metric) => cellColumn(block, metric, metric)),
      ...(ranked ? [{ title: `ranks in ${state.metric}`, key: "ranks", value: (row) => block.metrics[state.metric].ranks[block.rows.indexOf(row)]?.[0] ?? null, text: (row) => rankText(block, row) }] : []),
      { title: "seeds", key: "seeds", value: (row) => runsOf(block, row).length || null, text: (row) => String(runsOf(block, row).length) },
    ];
  }
  const protocols = new Set(blocks.map((block) => block.protocol)).size > 1;
  return [first, ...blocks.map((block) => cellColumn(block, state.metric, protocols ? `${block.dataset}, ${block.protocol}` : block.dataset))];
}

function rankText(block, row) {
  const bounds = block.metrics[state.metric].ranks[block.rows.indexOf(row)];
  if (!bounds) return DASH;
  return bounds[0] === bounds[1] ? String(bounds[0]) : `${bounds[0]} to ${bounds[1]}`;
}

const cellColumn = (block, metric, title) => ({
  title,
  key: `${block.key} ${metric}`,
  block,
  metric,
  value: (row) => block.metrics[metric].estimates[block.rows.indexOf(row)]?.mean ?? null,
});

function drawMatrix() {
  const blocks = blocksShown();
  const columns = columnsOf(blocks);
  const rows = [...new Set(blocks.flatMap(rowsOf))].filter((row) => FACTS.runs.some((run) => run.row === row && blocks.some((block) => block.key === run.key)));
  const sort = columns.find((column) => column.key === state.sort?.key) ?? columns[1];
  const down = state.sort?.key === sort.key ? state.sort.down : true;
  rows.sort((one, other) => compareValues(sort.value(one), sort.value(other), down) || (one < other ? -1 : 1));
  const head = columns.map((column) => {
    const button = make("button", { type: "button" }, make("bdi", {}, column.title));
    button.addEventListener("click", () => {
      state.sort = { key: column.key, down: sort.key === column.key ? !down : column.key !== "row" };
      drawMatrix();
      byId("matrix").querySelectorAll("thead button")[columns.indexOf(column)].focus();
    });
    return make("th", { scope: "col", className: column.key === "row" ? "" : "number", "aria-sort": column === sort ? (down ? "descending" : "ascending") : "none" }, button);
  });
  const body = rows.map((row) =>
    make("tr", {}, rowHead(row), ...columns.slice(1).map((column) => (column.block ? cell(column, row) : make("td", {}, make("span", {}, column.text(row)))))));
  if (!rows.length) body.push(make("tr", {}, make("td", { colSpan: columns.length }, make("span", {}, "No strategy has this name."))));
  byId("matrix").replaceChildren(
    make("thead", {}, make("tr", {}, ...head)),
    make("tbody", {}, ...body),
  );
  const abouts = new Set(blocks.flatMap((block) => block.metrics[state.metric].estimates.map((one) => one.about)));
  byId("matrix-note").textContent = [
    abouts.has("networks") ? "With one seed the interval is of that trained network, on pictures like these; nothing follows for the strategy." : "",
    abouts.has("set") ? "Where detections are missing the interval is over seeds alone, on exactly these pictures." : "",
  ].join(" ");
}

/** Missing values come last, whichever way the others go. */
function compareValues(one, other, down) {
  if (one === null || other === null) return (one === null) - (other === null);
  const order = typeof one === "string" ? one.localeCompare(other, "en") : one - other;
  return down ? -order : order;
}

function rowHead(row) {
  const chip = make("span", { className: "chip" });
  chip.style.background = looks(row).colour;
  return make("th", { scope: "row" }, chip, nameOf(row));
}

function cell({ block, metric }, row) {
  const place = block.rows.indexOf(row);
  const estimate = place < 0 ? null : block.metrics[metric].estimates[place];
  if (!estimate || !runsOf(block, row).length) {
    const held = FACTS.held.filter((one) => one.key === block.key && one.row === row && !["finished", "missing"].includes(one.state));
    return make("td", {}, make("span", {}, held.length ? "unfinished" : "not run"));
  }
  const best = block.metrics[metric].best[place];
  const interval = estimate.low === null ? "" : `[${number(estimate.low)}, ${number(estimate.high)}]`;
  const fewer = estimate.seeds < Math.max(...block.metrics[metric].estimates.map((one) => one.seeds));
  const range = [interval, fewer ? (estimate.seeds === 1 ? "1 seed" : `${estimate.seeds} seeds`) : ""].filter(Boolean).join(" ");
  const told = `${row} on ${block.dataset}: ${metric} ${number(estimate.mean)}${range ? `, ${range}` : ""}; open its runs`;
  const button = make("button", { type: "button", className: best ? "best" : "", "aria-label": told, title: estimate.about ? `95 % interval of ${ABOUT[estimate.about]}` : "" }, number(estimate.mean), range ? make("small", {}, range) : null);
  button.addEventListener("click", () => openRuns(block, row));
  return make("td", { "data-value": estimate.mean === null ? "" : String(estimate.mean) }, button);
}

// ---------------------------------------------------------------- what a cell opens

function openSheet(title, ...content) {
  clear(byId("sheet-body"));
  byId("sheet-title").replaceChildren(...title);
  byId("sheet-body").append(...content.filter(Boolean));
  if (!byId("sheet").open) byId("sheet").showModal();
  byId("sheet").scrollTop = 0;
}

function openRuns(block, row) {
  const runs = runsOf(block, row);
  const metrics = tableOf(["seed", ...FACTS.metrics], runs.map((run) => [String(run.seed), ...FACTS.metrics.map((metric) => number(run.metrics[metric], 2))]));
  const terms = [...new Set(runs.flatMap((run) => Object.keys(run.losses.values)))];
  const rows = terms.flatMap((term) => runs.flatMap((run) => points(run, term, term)));
  const chart = make("div", { className: "chart", "data-chart": "terms" });
  const { title, reading, spec, columns, panel } = CHARTS.terms;
  const curves = rows.length ? figure(title, reading, () => plainNumbers(columns, rows), chart) : make("p", { className: "absent" }, "No losses were kept.");
  openSheet(
    [nameOf(row), " on ", nameOf(block.dataset)],
    make("div", { className: "scroll", tabIndex: 0 }, metrics),
    curves,
    ...runs.map((run) => runDetails(run, runs.length === 1)),
  );
  if (rows.length) draw(chart, spec, panel, rows);
}

function runDetails(run, open) {
  const entries = FACTS.settings[run.settings].map((place) => FACTS.entries[place]);
  const changed = entries.filter(([, , origin]) => origin !== "default");
  const rest = entries.filter(([, , origin]) => origin === "default");
  const settings = (some) => make("div", { className: "scroll", tabIndex: 0 }, tableOf(["setting", "value", "origin"], some));
  const notes = run.notes.length ? make("ul", {}, ...run.notes.map((note) => make("li", { dir: "auto" }, note))) : make("p", {}, "None.");
  return make("details", { open },
    make("summary", {}, `Run with seed ${run.seed}: `, make("bdi", {}, run.id)),
    make("h4", {}, "Notes"), notes,
    make("h4", {}, "What it is"), make("div", { className: "scroll", tabIndex: 0 }, tableOf(["what", "value"], Object.entries(run.facts))),
    make("h4", {}, "Settings that are not the defaults"), settings(changed),
    make("details", {}, make("summary", {}, `Settings that are: ${rest.length}`), settings(rest)),
    make("details", {}, make("summary", {}, "Versions and machine"), make("div", { className: "scroll", tabIndex: 0 }, tableOf(["what", "value"], Object.entries(FACTS.environments[run.environment])))),
  );
}

// ---------------------------------------------------------------- pictures

/** What the page holds drawn already: our own markup, in which strangers' text is escaped. */
const drawing = (id) => byId(id).content.cloneNode(true);

function drawGallery() {
  const holder = byId("gallery");
  if (!holder) return;
  holder.replaceChildren();
  const names = new Set(blocksShown().map((block) => block.dataset));
  GALLERIES.forEach((gallery, number) => {
    if (!names.has(gallery.dataset)) return;
    if (GALLERIES.length > 1) holder.append(make("h3", {}, nameOf(gallery.dataset)));
    holder.append(make("p", { className: "reading" }, "The largest difference first. Choose a picture to see what each strategy detects in it, and at which locations it is taught."));
    if (gallery.notes.length) holder.append(make("ul", { className: "reading" }, ...gallery.notes.map((note) => make("li", { dir: "auto" }, note))));
    holder.append(make("div", { className: "shots" }, ...gallery.pictures.map((picture, place) => shot(picture, number, place))));
    if (!gallery.pictures.length) holder.append(make("p", { className: "absent" }, "No picture was chosen."));
  });
}

function shot(picture, number, place) {
  const small = document.createElementNS(SVG, "svg");
  small.setAttribute("viewBox", `0 0 ${picture.width} ${picture.height}`);
  small.setAttribute("preserveAspectRatio", "xMidYMid slice");
  small.setAttribute("aria-hidden", "true");
  const pixels = document.createElementNS(SVG, "use");
  pixels.setAttribute("href", `#${picture.image}`);
  small.append(pixels);
  const button = make("button", { type: "button", className: "shot" }, small,
    make("span", {}, make("bdi", {}, picture.name), make("br"), "speaks for ", nameOf(picture.better), " against ", nameOf(picture.worse), ` by ${picture.points.toFixed(2)}`));
  button.addEventListener("click", () => openPicture(picture, number, place));
  return button;
}

function openPicture(picture, number, place) {
  const pair = [picture.better, picture.worse];
  const panels = picture.panels.map((panel, which) => [panel, `panel-${number}-${place}-${which}`]);
  openSheet(
    [make("bdi", {}, picture.name), ` (${picture.detail})`],
    make("div", { className: "scroll", tabIndex: 0 }, tableOf(picture.columns, picture.rows)),
    make("div", { className: "drawn" }, drawing(`legend-${number}`)),
    make("div", { className: "panels" }, ...panels.filter(([panel]) => pair.includes(panel.row) || wanted(panel.row)).map(([panel, id]) =>
      make("figure", {}, make("figcaption", {}, make("strong", {}, nameOf(panel.row)), make("span", { dir: "auto" }, panel.note)), drawing(id)))),
  );
}

// ---------------------------------------------------------------- choices

function options(select, values, all) {
  select.replaceChildren(...(all ? [make("option", { value: "" }, all)] : []), ...values.map((value) => make("option", { value }, value)));
}

function drawVerdicts() {
  const keys = new Set(blocksShown().map((block) => block.key));
  for (const one of document.querySelectorAll(".verdict"))
    one.hidden = !(keys.has(one.dataset.key) && one.dataset.metric === state.metric);
}

const SECTIONS = {
  verdict: drawVerdicts,
  matrix: drawMatrix,
  differences: () => (drawCharts(document.querySelector("#differences .charts")), drawOver()),
  figures: () => document.querySelectorAll(".figures").forEach(drawFigures),
  assignment: () => (drawLegend(document.querySelector(".legend")), drawCharts(document.querySelector("#assignment .charts"))),
  gallery: drawGallery,
  runs: () => drawCharts(document.querySelector("#runs .charts")),
};
const TOUCHES = { metric: ["verdict", "matrix", "differences", "figures"], baseline: ["differences", "figures"] };

function show(sections = Object.keys(SECTIONS)) {
  for (const name of sections) SECTIONS[name]();
}

function listen() {
  const form = byId("choices");
  const { dataset, protocol, metric, baseline, text } = form.elements;
  options(dataset, [...new Set(FACTS.blocks.map((block) => block.dataset))], "All");
  options(protocol, [...new Set(FACTS.blocks.map((block) => block.protocol))], "All");
  options(metric, FACTS.metrics);
  options(baseline, FACTS.rows);
  baseline.value = state.baseline;
  dataset.parentElement.hidden = dataset.options.length < 3;
  protocol.parentElement.hidden = protocol.options.length < 3;
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const field of [dataset, protocol, metric, baseline])
    field.addEventListener("change", () => {
      state[field.name] = field.value;
      show(TOUCHES[field.name]);
    });
  let typing = 0;
  text.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      state.text = text.value;
      show();
    }, 150);
  });
  byId("theme").addEventListener("click", (event) => setTheme(event.currentTarget.getAttribute("aria-pressed") !== "true"));
  for (const button of document.querySelectorAll("[data-save]"))
    button.addEventListener("click", () => saveTable(byId(button.dataset.save), document.title));
  byId("sheet").addEventListener("click", (event) => event.target === byId("sheet") && byId("sheet").close());
  let width = innerWidth;
  let resizing = 0;
  addEventListener("resize", () => {
    clearTimeout(resizing);
    resizing = setTimeout(() => {
      if (Math.abs(innerWidth - width) < 40) return;
      width = innerWidth;
      show(["differences", "figures", "assignment", "runs"]);
    }, 250);
  });
  addEventListener("beforeprint", openAll);
}

function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  byId("theme").setAttribute("aria-pressed", String(dark));
  byId("theme").textContent = dark ? "Light" : "Dark";
}

/** On paper nothing can be opened any more. */
function openAll() {
  for (const one of document.querySelectorAll("main details")) {
    one.fill?.();
    one.open = true;
  }
}

try {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  byId("theme").setAttribute("aria-pressed", String(dark));
  byId("theme").textContent = dark ? "Light" : "Dark";
  listen();
  show();
} catch (error) {
  byId("broken").hidden = false;
  byId("broken").textContent = `The tables and charts could not be shown: ${error.message}`;
  throw error;
}
