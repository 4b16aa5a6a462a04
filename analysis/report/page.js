"use strict";
// The page's charts, table and matrices, drawn of the trials that the reader has chosen.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { trials, facets, charts, table, matrices } = data;
  const $ = (selector, root = document) => root.querySelector(selector);
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "text") element.textContent = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value != null) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };
  const key = (facet) => (["hue", "style", "panel"].includes(facet.role) ? facet.role : facet.setting);
  const panelFacet = facets.find((facet) => facet.role === "panel");

  // What is chosen: a set of values for each facet; of a facet of one value at a time, that value.
  const chosen = {};
  const chooseAll = () => facets.forEach((facet) => { chosen[facet.setting] = facet.single ? facet.values[0] : new Set(facet.values); });
  chooseAll();

  const isShown = (t, freeOf = []) =>
    facets.every((facet) => {
      if (freeOf.includes(facet.setting)) return true;
      const value = trials[key(facet)][t], wanted = chosen[facet.setting];
      if (facet.role === "lr") return wanted === "best" ? trials.best[t] === 1 : value === wanted;
      return facet.single ? value === wanted : wanted.has(value);
    });

  // Charts

  const views = []; // { view, chart, panel, name of data }
  const datum = (chart, row, columns) => {
    const t = row[0];
    const found = { t, id: trials.id[t], hue: trials.hue[t], style: trials.style?.[t] ?? "", panel: trials.panel?.[t] ?? "", lr: trials.lr[t], seed: trials.seed[t] };
    for (const facet of facets) if (facet.role === "apart") found[facet.setting] = trials[facet.setting][t];
    found.series = (chart.series ?? trials.series)[t];
    columns.forEach((column, place) => { found[column] = row[place + 1]; });
    if (chart.choice) found.x = found[chart.choice];
    return found;
  };
  const isKnown = (row) => row.x !== null && row.x !== undefined && row.y !== null;
  const rowsOf = (chart, panel) =>
    chart.rows.filter((row) => isShown(row[0], chart.free_of) && (panel === null || trials.panel[row[0]] === panel))
      .map((row) => datum(chart, row, chart.columns)).filter(isKnown);
  const lawOf = (chart, panel) =>
    chart.law.filter((row) => isShown(row[0], ["seed", "lr", ...(panelFacet && !chart.has_panels ? [panelFacet.setting] : [])]) && (panel === null || trials.panel[row[0]] === panel))
      .map((row) => datum(chart, row, chart.law_columns));

  // Not Vega's own: of the nearest point, it does not know columns of names.
  const tip = make("div", { id: "tip", role: "tooltip", hidden: true });
  document.body.append(tip);
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });
  const told = (value, format = "") => {
    if (typeof value !== "number") return value ?? "";
    if (format.endsWith("%")) return number(value, "percent");
    if (format.endsWith("s") && value >= 1000) return short(value);
    return Number.isInteger(value) ? value.toLocaleString("en") : String(+value.toPrecision(4));
  };
  const teller = (fields) => (handler, event, item, value) => {
    const found = item?.datum?.datum ?? item?.datum;
    tip.hidden = !value || !found;
    if (tip.hidden) return;
    tip.replaceChildren(...fields.map(({ field, title, format }) => make("div", {}, make("span", { text: title }), make("b", { text: told(found[field], format) }))));
    const right = event.clientX + 14, down = event.clientY + 14;
    tip.style.left = `${Math.max(4, right + tip.offsetWidth > innerWidth ? event.clientX - tip.offsetWidth - 14 : right)}px`;
    tip.style.top = `${Math.max(4, down + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 14 : down)}px`;
  };

  const embed = async (element, spec, rows, law = null) => {
    const given = structuredClone(spec);
    given.datasets = { rows, ...(law ? { law } : {}) };
    const fields = (given.layer ?? []).flatMap((layer) => layer.encoding.tooltip ?? []);
    const result = await vegaEmbed(element, given, { renderer: "svg", actions: false, tooltip: teller(fields) });
    element.querySelector("svg")?.setAttribute("aria-hidden", "true");
    return result.view;
  };

  const drawChart = async (chart) => {
    const place = $(`[data-chart="${chart.name}"]`);
    const panels = chart.has_panels && panelFacet ? panelFacet.values.filter((value) => chosen[panelFacet.setting].has(value)) : [null];
    const drawn = panels.map((panel) => [panel, rowsOf(chart, panel)]).filter(([, rows]) => rows.length);
    const there = views.filter((one) => one.chart === chart);
    if (there.length && there.map((one) => one.panel).join("\n") === drawn.map(([panel]) => panel).join("\n") && !chart.changed) {
      await Promise.all(there.map(({ view, panel }, number) => {
        view.data("rows", drawn[number][1]);
        if (chart.law.length) view.data("law", lawOf(chart, panel));
        return view.runAsync();
      }));
      return;
    }
    chart.changed = false;
    there.forEach((one) => { one.view.finalize(); views.splice(views.indexOf(one), 1); });
    place.replaceChildren();
    if (!drawn.length) place.append(make("p", { class: "nothing", text: "Nothing of this is chosen, or measured by now." }));
    const elements = drawn.map(() => make("div", { class: "view" })); // all of them first, as each is as wide as its place
    place.append(...drawn.map(([panel], number) => make("div", { class: "panel" }, ...(panel === null ? [] : [make("h3", { text: `${panelFacet.name} ${panel}` })]), elements[number])));
    for (const [number, [panel, rows]] of drawn.entries()) {
      const element = elements[number];
      const view = await embed(element, withTitle(chart), rows, chart.law_columns.length ? lawOf(chart, panel) : null);
      view.addEventListener("click", (event, item) => {
        const of = item?.datum?.datum ?? item?.datum;
        if (of?.t !== undefined) { showTrial(of.t); $("#matrix")?.scrollIntoView(); }
      });
      views.push({ view, chart, panel });
    }
  };
  const withTitle = (chart) => {
    if (!chart.choice) return chart.spec;
    const spec = structuredClone(chart.spec);
    for (const layer of spec.layer) {
      layer.encoding.x.axis.title = chart.choices[chart.choice];
      for (const tip of layer.encoding.tooltip ?? []) if (tip.field === "x") tip.title = chart.choices[chart.choice];
    }
    return spec;
  };
  const light = (hue) => views.forEach(({ view }) => { try { view.signal("hot", hue).runAsync(); } catch { /* a view without keys */ } });

  let waiting = null;
  const update = () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      drawTable();
      listTrials();
      for (const chart of charts) await drawChart(chart);
    }, 60);
  };

  // Keys and choices

  const swatch = (place, look) => {
    const dash = look.dash.join(" ");
    const svg = `<svg width="30" height="14" viewBox="0 0 30 14" aria-hidden="true"><line x1="1" x2="29" y1="7" y2="7" stroke="var(--hue-${place})" stroke-width="2.5" stroke-dasharray="${dash === "1 0" ? "none" : dash}"/><path transform="translate(15 7) scale(8)" d="${look.path}" fill="var(--hue-${place})"/></svg>`;
    const holder = make("span");
    holder.innerHTML = svg;
    return holder.firstChild;
  };
  const dashOf = (dash) => {
    const holder = make("span");
    holder.innerHTML = `<svg width="30" height="14" viewBox="0 0 30 14" aria-hidden="true"><line x1="1" x2="29" y1="7" y2="7" stroke="currentColor" stroke-width="2" stroke-dasharray="${dash[0] === 1 && dash[1] === 0 ? "none" : dash.join(" ")}"/></svg>`;
    return holder.firstChild;
  };
  const drawKeys = () => {
    const facet = facets.find((one) => one.role === "hue");
    const shown = facet ? facet.values.filter((value) => data.looks[value] && chosen[facet.setting].has(value)) : [];
    document.querySelectorAll(".keys").forEach((keys) => keys.replaceChildren(...shown.map((value) => make("span", {}, swatch(facet.values.indexOf(value), data.looks[value]), value))));
  };
  const drawFacets = () => {
    const form = $("#facets");
    if (!form) return;
    form.replaceChildren();
    for (const facet of facets) {
      const chips = make("div", { class: facet.role === "hue" ? "chips stacked" : "chips" });
      facet.values.forEach((value, place) => {
        const isOn = facet.single ? chosen[facet.setting] === value : chosen[facet.setting].has(value);
        const input = make("input", { type: facet.single ? "radio" : "checkbox", name: facet.setting, value, checked: isOn, "aria-label": `${facet.name} ${value}`, onchange: (event) => choose(facet, value, event.target.checked) });
        const face = make("span", { class: "face" });
        const look = facet.role === "hue" && data.looks[value];
        if (look) face.append(swatch(place, look));
        if (facet.role === "style" && data.dashes[value]) face.append(dashOf(data.dashes[value]));
        face.append(value);
        const chip = make("label", { class: "chip", ondblclick: () => only(facet, value) }, input, face);
        if (look) {
          chip.addEventListener("pointerenter", () => light(value));
          chip.addEventListener("pointerleave", () => light(""));
          input.addEventListener("focus", () => light(value));
          input.addEventListener("blur", () => light(""));
        }
        chips.append(chip);
      });
      form.append(make("fieldset", {}, make("legend", { text: facet.name }), chips));
    }
    tellChosen();
  };
  const choose = (facet, value, isOn) => {
    if (facet.single) chosen[facet.setting] = value;
    else if (isOn) chosen[facet.setting].add(value);
    else chosen[facet.setting].delete(value);
    tellChosen();
    update();
  };
  const only = (facet, value) => {
    if (facet.single) return;
    chosen[facet.setting] = new Set([value]);
    drawFacets();
    update();
  };
  const tellChosen = () => {
    const some = facets.filter((facet) => !facet.single && chosen[facet.setting].size < facet.values.length).map((facet) => `${chosen[facet.setting].size} of ${facet.values.length} ${facet.name}s`);
    drawKeys();
    $("#chosen").textContent = some.length ? `(${some.join(", ")})` : "";
  };

  // The table of trials

  const STEP = 50;
  let sorted = { column: table.sort, down: true }, most = STEP;
  const short = (value) => { // 12.3 k
    const power = value < 1000 ? 0 : Math.min(5, Math.floor(Math.log10(value) / 3));
    return `${+(value / 1000 ** power).toPrecision(3)} ${["", "k", "M", "G", "T", "P"][power]}`;
  };
  const number = (value, kind) => {
    if (value === null) return "";
    if (kind === "percent") return `${(100 * value).toFixed(1)} %`;
    if (kind === "bytes") return `${short(value)}B`;
    if (kind === "seconds") return value < 100 ? `${+value.toPrecision(3)} s` : value < 7200 ? `${(value / 60).toFixed(0)} min` : `${(value / 3600).toFixed(1)} h`;
    return typeof value === "number" ? String(+value.toPrecision(6)) : String(value);
  };
  const CONDITION = /^([\w ]+?)(!=|>=|<=|=|>|<)(.+)$/;
  const meets = (row, word) => {
    const asked = word.match(CONDITION);
    const place = asked ? table.columns.findIndex((column) => column.title.toLowerCase().replaceAll(" ", "_").startsWith(asked[1])) : -1;
    if (place < 0) return row.some((value, at) => number(value, table.columns[at].kind).toLowerCase().includes(word));
    const value = row[place], [, , sign, text] = asked, wanted = Number(text);
    const is = typeof value === "number" && !Number.isNaN(wanted) ? value === wanted : number(value, table.columns[place].kind).toLowerCase() === text;
    if (sign === "=") return is;
    if (sign === "!=") return !is;
    if (value === null) return false;
    return { ">": value > wanted, "<": value < wanted, ">=": value >= wanted, "<=": value <= wanted }[sign];
  };
  const tableRows = () => {
    const words = $("#filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const free = facets.filter((facet) => facet.role === "lr" && chosen[facet.setting] === "best").map((facet) => facet.setting);
    const isIn = (t) => !$("#follow").checked || facets.every((facet) => !facet.values.includes(trials[key(facet)][t])) || isShown(t, free);
    const found = table.rows.map((row, t) => [row, t]).filter(([row, t]) => isIn(t) && words.every((word) => meets(row, word)));
    const { column, down } = sorted;
    return found.sort(([one], [other]) => {
      const [a, b] = [one[column], other[column]];
      if (a === null || b === null) return (a === null) - (b === null);
      return (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true })) * (down ? -1 : 1);
    });
  };
  const drawHead = () => {
    $("#trial-table thead").replaceChildren(make("tr", {}, ...table.columns.map((column, place) => make("th", {
      scope: "col", class: column.kind === "text" ? "text" : "", "aria-sort": sorted.column === place ? (sorted.down ? "descending" : "ascending") : "none",
    }, make("button", { type: "button", text: column.title, title: column.text, onclick: () => {
      sorted = { column: place, down: sorted.column === place ? !sorted.down : column.kind !== "text" };
      drawTable();
      $(`#trial-table thead th:nth-child(${place + 1}) button`).focus();
    } })))));
  };
  const drawTable = () => {
    const rows = tableRows();
    drawHead();
    const places = Object.keys(data.looks);
    $("#trial-table tbody").replaceChildren(...rows.slice(0, most).map(([row, t]) => {
      const first = make("button", { type: "button", onclick: () => showTrial(t) });
      const hue = places.indexOf(trials.hue[t]);
      if (hue >= 0) first.append(make("span", { class: "dot", style: `background:var(--hue-${hue})` }));
      first.append(number(row[0], table.columns[0].kind));
      return make("tr", { "data-t": t, class: t === current ? "chosen" : "", onclick: () => showTrial(t) },
        make("th", { scope: "row" }, first),
        ...row.slice(1).map((value, place) => {
          const { kind, title } = table.columns[place + 1];
          return make("td", { class: [kind === "text" ? "text" : "", title === "status" ? `status-${value}` : ""].join(" ").trim(), text: number(value, kind) });
        }));
    }));
    $("#count").textContent = `${rows.length} of ${table.rows.length} trials`;
    $("#more").hidden = rows.length <= most;
    $("#more").textContent = `Show ${Math.min(rows.length - most, 4 * STEP)} more`;
  };
  const saveCsv = () => {
    const quote = (value) => { const text = value === null ? "" : String(value); return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text; };
    const lines = [table.columns.map((column) => quote(column.title)), ...tableRows().map(([row]) => row.map(quote))].map((cells) => cells.join(","));
    const link = make("a", { href: URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" })), download: "trials.csv" });
    link.click();
    URL.revokeObjectURL(link.href);
  };

  // R of a trial

  let current = null, cells = null, heat = null, through = null;
  const unpack = async () => {
    const bytes = Uint8Array.from(atob(matrices.data), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    const view = new DataView(await new Response(stream).arrayBuffer());
    cells = (place) => view.getUint16(2 * place, true);
  };
  const matrixOf = (t) => {
    const [start, number] = matrices.of[t], grid = matrices.grids[number], rows = [];
    grid.seen.forEach((seen, i) => grid.task.forEach((task, j) => {
      const value = cells(start + i * grid.task.length + j);
      if (value !== matrices.unknown) rows.push({ seen, task, accuracy: value / matrices.steps });
    }));
    return rows;
  };
  const label = (t) => [trials.hue[t], ...facets.filter((facet) => !["hue", "lr", "seed"].includes(facet.role)).map((facet) => `${facet.name} ${trials[key(facet)][t]}`), `lr ${trials.lr[t]}`, `seed ${trials.seed[t]}`].join(", ");
  const listTrials = () => {
    const select = $("#trial");
    if (!select) return;
    const known = Object.keys(matrices.of).map(Number).filter((t) => t === current || isShown(t));
    select.replaceChildren(...known.map((t) => make("option", { value: t, text: label(t), selected: t === current })));
  };
  const showTrial = async (t) => {
    if (!matrices || !(t in matrices.of)) return;
    current = t;
    if (!cells) await unpack();
    if (!$(`#trial option[value="${t}"]`)) listTrials();
    $("#trial").value = t;
    document.querySelectorAll("#trial-table tbody tr").forEach((row) => row.classList.toggle("chosen", Number(row.dataset.t) === t));
    const rows = matrixOf(t), last = Math.max(...rows.map((row) => row.seen)), end = rows.filter((row) => row.seen === last);
    const mean = end.reduce((sum, row) => sum + row.accuracy, 0) / end.length;
    const worst = end.reduce((one, other) => (other.accuracy < one.accuracy ? other : one));
    const text = `${label(t)}. After ${last} task${last > 1 ? "s" : ""}: mean accuracy ${number(mean, "percent")} over the ${end.length} measured; lowest task ${worst.task}, ${number(worst.accuracy, "percent")}. Trial ${trials.id[t]}.`;
    $("#matrix-text").textContent = text;
    $("#heat").setAttribute("aria-label", `Heat map of R. ${text}`);
    $("#through").setAttribute("aria-label", `Accuracy of each task through time. ${text}`);
    if (!heat) [heat, through] = [await embed($("#heat"), data.heat, rows), await embed($("#through"), data.through, rows)];
    else await Promise.all([heat, through].map((view) => view.data("rows", rows).runAsync()));
  };
  const step = (by) => { const options = [...$("#trial").options], at = options.findIndex((one) => Number(one.value) === current); showTrial(Number(options[(at + by + options.length) % options.length].value)); };

  // The page

  const setTheme = (theme) => {
    if (theme) document.documentElement.dataset.theme = theme; else delete document.documentElement.dataset.theme;
    try { if (theme) localStorage.setItem("psp-theme", theme); else localStorage.removeItem("psp-theme"); } catch { /* no storage */ }
    tellTheme();
  };
  const tellTheme = () => document.querySelectorAll("[data-theme-choice]").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.themeChoice === (document.documentElement.dataset.theme ?? ""))));
  document.querySelectorAll("[data-theme-choice]").forEach((button) => button.addEventListener("click", () => setTheme(button.dataset.themeChoice)));
  tellTheme();
  let themeBefore = null; // paper is white
  addEventListener("beforeprint", () => { themeBefore = document.documentElement.dataset.theme ?? ""; document.documentElement.dataset.theme = "light"; });
  addEventListener("afterprint", () => { if (themeBefore) document.documentElement.dataset.theme = themeBefore; else delete document.documentElement.dataset.theme; });

  if (matchMedia("(max-width: 900px)").matches) $("#controls")?.removeAttribute("open");
  $("#reset")?.addEventListener("click", () => { chooseAll(); drawFacets(); update(); });
  $("#filter").addEventListener("input", () => { most = STEP; drawTable(); });
  $("#follow").addEventListener("change", drawTable);
  $("#csv").addEventListener("click", saveCsv);
  $("#more").addEventListener("click", () => { most += 4 * STEP; drawTable(); });
  $("#trial")?.addEventListener("change", (event) => showTrial(Number(event.target.value)));
  $("#earlier")?.addEventListener("click", () => step(-1));
  $("#later")?.addEventListener("click", () => step(1));
  document.querySelectorAll("[data-choice]").forEach((select) => select.addEventListener("change", () => {
    const chart = charts.find((one) => one.name === select.dataset.choice);
    chart.choice = select.value;
    chart.changed = true;
    drawChart(chart);
  }));
  document.querySelectorAll(".copy").forEach((button) => button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.previousElementSibling.textContent.trim());
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }));
  const links = new Map([...document.querySelectorAll(".side nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => entries.forEach((entry) => { if (entry.isIntersecting) { links.forEach((link) => link.classList.remove("here")); links.get(entry.target.id)?.classList.add("here"); } }), { rootMargin: "-20% 0px -70% 0px" });
  document.querySelectorAll("main > section").forEach((section) => seen.observe(section));

  (async () => {
    for (const chart of charts) chart.choice = Object.keys(chart.choices)[0] ?? null;
    drawFacets();
    drawTable();
    for (const chart of charts) await drawChart(chart);
    if (matrices) { listTrials(); await showTrial(Number($("#trial").value || Object.keys(matrices.of)[0])); }
    document.documentElement.dataset.ready = "true";
  })();
})();
