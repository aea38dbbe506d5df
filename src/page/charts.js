// Charts on chart.js: a figure with its title, legend, SVG and the same data as a table.
'use strict';

// ---- scales and shapes ------------------------------------------------------------------------------------------

// About count round numbers from lo to hi: 1, 2 or 5 times a power of ten apart; on a log scale 1, 2, 5 in each decade.
function ticks(lo, hi, count, log = false) {
  if (log) {
    const all = [];
    for (let e = Math.floor(Math.log10(lo)); e <= Math.ceil(Math.log10(hi)); e++) for (const m of [1, 2, 5]) all.push(m * 10 ** e);
    const inside = all.filter(v => v >= lo * 0.999 && v <= hi * 1.001);
    return inside.length > count ? inside.filter(v => /^1e/.test(v.toExponential())) : inside;
  }
  if (!(hi > lo)) return [lo];
  const raw = (hi - lo) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(m => m * power).find(s => s >= raw * 0.999);
  const all = [];
  for (let i = Math.ceil(lo / step - 1e-9); i <= Math.floor(hi / step + 1e-9); i++) all.push(i * step);
  return all;
}
const tickDigits = values => values.length < 2 ? undefined
  : Math.max(0, Math.min(8, -Math.floor(Math.log10(Math.abs(values[1] - values[0])) + 1e-9)));

// Eight shapes that are told apart without colour, r in pixels.
const SHAPES = [
  (x, y, r) => `M${x - r},${y}a${r},${r} 0 1 0 ${2 * r},0a${r},${r} 0 1 0 ${-2 * r},0z`,
  (x, y, r) => `M${x - r},${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
  (x, y, r) => `M${x},${y - 1.2 * r}L${x + 1.2 * r},${y + r}H${x - 1.2 * r}z`,
  (x, y, r) => `M${x},${y - 1.3 * r}L${x + 1.3 * r},${y}L${x},${y + 1.3 * r}L${x - 1.3 * r},${y}z`,
  (x, y, r) => `M${x - r / 3},${y - r}h${r / 1.5}v${r / 1.5}h${r / 1.5}v${r / 1.5}h${-r / 1.5}v${r / 1.5}h${-r / 1.5}v${-r / 1.5}h${-r / 1.5}v${-r / 1.5}h${r / 1.5}z`,
  (x, y, r) => `M${x},${y + 1.2 * r}L${x + 1.2 * r},${y - r}H${x - 1.2 * r}z`,
];
const shapePath = (series, x, y, r = 5) => svg('path', {class: `shape c${series % 6}`, d: SHAPES[series % SHAPES.length](x, y, r)});

// ---- the frame of every chart -----------------------------------------------------------------------------------

// A figure that calls draw(area) for its SVG whenever its width changes or update() is called. options: {title, unit,
// legend: [{name, series}], height, label}; table(): {columns, rows}; handles: see chartHandles.
// Returns {update, figure}. Inside draw, area = {root, width, height, font, left, right, top, bottom, axes(x, y)}.
function chartFrame(root, options, draw, table) {
  const picture = svg('svg', {role: options.handles ? 'group' : 'img'});
  const drawn = svg('g');
  const handles = svg('g');
  picture.append(drawn, handles);
  const caption = el('figcaption');
  const legend = el('ul', {class: 'legend', hidden: true});
  const body = el('div');
  const twin = el('details', {}, el('summary', {}, t('chart.data')), body);
  const figure = el('figure', {class: 'chart'}, caption, legend, picture, twin);
  root.append(figure);
  const movable = chartHandles(handles, options.handles ?? []);
  const fillTwin = () => {
    if (!twin.open) return;
    const {columns, rows} = table();
    body.replaceChildren();
    dataTable(body, {caption: options.title, columns, rows});
  };
  twin.addEventListener('toggle', fillTwin);
  let width = 0;
  const update = live(() => {
    width = Math.floor(figure.clientWidth);
    if (!width) return;
    const font = Math.max(12, 0.75 * parseFloat(getComputedStyle(document.documentElement).fontSize));
    const height = Math.round(options.height ? options.height * font / 12 : Math.max(200, Math.min(0.5 * width, 27 * font)));
    picture.setAttribute('viewBox', `0 0 ${width} ${height}`);
    picture.setAttribute('font-size', font);
    picture.setAttribute('aria-label', options.label ?? options.title);
    caption.replaceChildren(options.title, options.unit ? el('span', {class: 'unit'}, ` (${options.unit})`) : '');
    legend.hidden = !options.legend?.length;
    legend.replaceChildren(...(options.legend ?? []).map(entry => el('li', {},
      svg('svg', {viewBox: '-8 -8 16 16', 'aria-hidden': true}, entry.line ? svg('path', {class: `line c${entry.series % 6} ${entry.line}`, d: 'M-8,0H8'})
        : shapePath(entry.series, 0, 0, 6)), entry.name)));
    drawn.replaceChildren();
    const area = {root: drawn, width, height, font, left: 8, right: width - 8, top: 1.9 * font, bottom: height - 3.1 * font};
    area.axes = (x, y) => chartAxes(area, x, y);
    draw(area);
    movable.place(area);
    fillTwin();
  });
  new ResizeObserver(() => { if (Math.floor(figure.clientWidth) !== width) update(); }).observe(figure);
  update();
  return {figure, update: next => { Object.assign(options, next ?? {}); update(); }};
}

// Axes with ticks and names: x below, y at the left with its name above. An axis is {label, lo, hi, log, ticks, text};
// ticks: values or a count. Sets area.x and area.y, which place values.
function chartAxes(area, x, y) {
  const {root, font} = area;
  const place = (axis, from, to) => {
    const f = axis.log ? Math.log : v => v;
    const span = f(axis.hi) - f(axis.lo) || 1;
    return v => from + (to - from) * (f(v) - f(axis.lo)) / span;
  };
  const marks = (axis, room) => {
    const values = Array.isArray(axis.ticks) ? axis.ticks : ticks(axis.lo, axis.hi, axis.ticks ?? room, axis.log);
    const digits = tickDigits(axis.log ? [] : values);
    return values.map(value => ({value, text: axis.text ? axis.text(value) : num(value, digits)}));
  };
  const text = (className, attributes, content) => root.append(svg('text', {class: className, ...attributes}, content));
  const yMarks = marks(y, Math.max(2, Math.floor((area.bottom - area.top) / (3 * font))));
  area.left = Math.max(area.left, 0.62 * font * Math.max(1, ...yMarks.map(mark => mark.text.length)) + 10);
  area.x = place(x, area.left, area.right);
  area.y = place(y, area.bottom, area.top);
  for (const {value, text: label} of yMarks) {
    root.append(svg('line', {class: 'grid', x1: area.left, x2: area.right, y1: area.y(value), y2: area.y(value)}));
    text('axis', {x: area.left - 6, y: area.y(value) + 0.35 * font, 'text-anchor': 'end'}, label);
  }
  const room = Math.max(2, Math.floor((area.right - area.left) / (5.5 * font)));
  let free = -Infinity; // the right end of the last label: labels that would touch are left out
  for (const {value, text: label} of marks(x, room)) {
    const half = 0.3 * font * label.length;
    const middle = Math.min(area.x(value), area.width - half);
    root.append(svg('line', {class: 'frame', x1: area.x(value), x2: area.x(value), y1: area.bottom, y2: area.bottom + 4}));
    if (middle - half < free) continue;
    free = middle + half + 0.5 * font;
    text('axis', {x: middle, y: area.bottom + 4 + 1.1 * font, 'text-anchor': 'middle'}, label);
  }
  root.append(svg('line', {class: 'frame', x1: area.left, x2: area.right, y1: area.bottom, y2: area.bottom}));
  if (y.label) text('axis', {x: 0, y: font}, y.label);
  if (x.label) text('axis', {x: area.right, y: area.height - 0.4 * font, 'text-anchor': 'end'}, x.label);
}

// Handles that one drags along x, or moves with the arrow keys: [{label, value(), min(), max(), step(), text(v), oninput(v)}],
// each but label and oninput a function, asked again at each drawing. The elements stay, and so does the focus.
function chartHandles(root, handles) {
  let area = null;
  const placed = handles.map(handle => {
    const move = value => handle.oninput(Math.min(handle.max(), Math.max(handle.min(), value)));
    const at = event => {
      const box = root.ownerSVGElement.getBoundingClientRect();
      const x = (event.clientX - box.left) * area.width / box.width;
      const [a, b] = [area.x(handle.min()), area.x(handle.max())];
      return handle.min() + (x - a) / (b - a || 1) * (handle.max() - handle.min());
    };
    const parts = {line: svg('line'), touch: svg('rect', {class: 'touch'}), grip: svg('path', {class: 'grip'})};
    const group = svg('g', {class: 'handle', role: 'slider', tabindex: 0, 'aria-label': handle.label,
      'aria-orientation': 'horizontal', on: {
        pointerdown: event => { group.setPointerCapture(event.pointerId); group.focus(); event.preventDefault(); },
        pointermove: event => { if (group.hasPointerCapture(event.pointerId)) move(at(event)); },
        keydown: event => {
          const steps = {ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10}[event.key];
          const value = event.key === 'Home' ? handle.min() : event.key === 'End' ? handle.max()
            : steps ? handle.value() + steps * handle.step() : null;
          if (value === null) return;
          event.preventDefault();
          move(value);
        }}}, parts.line, parts.touch, parts.grip);
    root.append(group);
    return {handle, group, ...parts};
  });
  const place = now => {
    area = now;
    for (const {handle, group, line, touch, grip} of placed) {
      const x = area.x(handle.value());
      const set = (element, attributes) => Object.entries(attributes).forEach(([k, v]) => element.setAttribute(k, v));
      set(line, {x1: x, x2: x, y1: area.top - 4, y2: area.bottom});
      set(touch, {x: x - 14, y: area.top - 14, width: 28, height: area.bottom - area.top + 14});
      set(grip, {d: SHAPES[0](x, area.top - 4, 9)});
      set(group, {'aria-valuemin': handle.min(), 'aria-valuemax': handle.max(), 'aria-valuenow': handle.value(),
        'aria-valuetext': handle.text(handle.value())});
    }
  };
  return {place};
}

// ---- the charts -------------------------------------------------------------------------------------------------

// A cell of a chart's table: with the address of the program's cell that it repeats, where it does ('ladder/5/changed').
const twinCell = (text, cell) => cell ? el('span', {'data-cell': cell}, text) : text;

// Lines and points. options: {title, unit, x, y: axes (lo and hi from the data where missing), series: [{name, shape, line:
// true|false, dots: true|false, steps, points: [{x, y, error, text, cell}]}], marks: [{x|y, text}], bands: [{from, to}],
// handles, table: a function in place of the table of all points}.
function lineChart(root, options) {
  const all = () => options.series.flatMap(series => series.points);
  const range = (axis, key) => {
    if (axis.lo !== undefined && axis.hi !== undefined) return axis;
    const values = all().flatMap(p => [p[key] - (key === 'y' && p.error || 0), p[key] + (key === 'y' && p.error || 0)]);
    const [lo, hi] = [Math.min(...values), Math.max(...values)];
    const rim = key === 'y' ? 0.06 * (hi - lo) || 1 : 0;
    return {...axis, lo: axis.lo ?? lo - rim, hi: axis.hi ?? hi + rim};
  };
  const clip = newId();
  const names = () => options.legend = options.series.filter(s => s.name && options.series.length > 1)
    .map(s => ({name: s.name, series: s.shape ?? options.series.indexOf(s), line: s.dots === false && (s.dash ? 'dash' : 'full')}));
  names();
  const chart = chartFrame(root, options, area => {
    area.axes(range(options.x, 'x'), range(options.y, 'y'));
    drawMarks(area, options);
    area.root.append(svg('clipPath', {id: clip}, svg('rect', {x: area.left, width: area.right - area.left, y: area.top, height: area.bottom - area.top})));
    options.series.forEach((series, index) => {
      const look = series.shape ?? index;
      const at = series.points.map(p => [area.x(p.x), area.y(p.y)]);
      if (series.line !== false && at.length > 1) {
        const path = at.map(([x, y], i) => i === 0 ? `M${x},${y}` : series.steps ? `H${x}V${y}` : `L${x},${y}`).join('');
        area.root.append(svg('path', {class: `line c${look % 6}${series.dash ? ' dash' : ''}`, 'clip-path': `url(#${clip})`, d: path}));
      }
      if (series.dots === false) return;
      series.points.forEach((p, i) => {
        const [x, y] = at[i];
        if (y > area.bottom) return drawBelow(area, x, look, p);
        if (p.error) area.root.append(svg('line', {class: `error c${look % 6}`, x1: x, x2: x, y1: area.y(p.y - p.error), y2: area.y(p.y + p.error)}));
        const shape = shapePath(look, x, y, p.strong ? 8 : series.faint ? 3 : 5);
        if (p.strong) shape.classList.add('strong');
        if (series.faint) shape.classList.add('faint');
        shape.append(svg('title', {}, `${series.name ?? ''} ${p.name ?? ''} ${p.text ?? num(p.y)}`.trim()));
        area.root.append(shape);
      });
    });
  }, () => options.table ? options.table() : ({
    columns: [t('chart.series'), options.x.label, options.y.label ?? options.unit, ...(all().some(p => p.error) ? [t('chart.error')] : [])],
    rows: options.series.flatMap(series => series.points.map(p => [[series.name, p.name].filter(Boolean).join(' '),
      p.xText ?? num(p.x), twinCell(p.text ?? num(p.y), p.cell), ...(all().some(q => q.error) ? [p.error ? num(p.error) : ''] : [])])),
  }));
  return {...chart, update: next => { Object.assign(options, next ?? {}); names(); chart.update(); }};
}

// A point below the axis's lower end: at the edge, pointing down, with its value.
function drawBelow(area, x, look, point) {
  if (!point.text) return;
  area.below = (area.below ?? 0) + 1; // one above the other, where there are several
  const y = area.bottom - 4 - (area.below - 1) * 1.2 * area.font;
  area.root.append(svg('path', {class: `shape c${look % 6}${point.strong ? ' strong' : ''}`, d: SHAPES[5](x, y - 0.35 * area.font, 5)}),
    svg('text', {class: 'axis', x: x + 9, y}, point.text));
}

// A row a thing, its value as a point on a common axis and as a number at the right. options: {title, unit, x: axis,
// rows: [{name, value, error, text, cell, series, strong}], marks}. Values left of the axis stand at its edge.
function dotChart(root, options) {
  const chart = chartFrame(root, options, area => {
    const {rows} = options;
    const {font, width} = area;
    const narrow = width < 38 * font;
    const names = narrow ? 0 : 0.58 * font * Math.max(...rows.map(row => row.name.length));
    const values = 0.62 * font * Math.max(...rows.map(row => (row.text ?? '').length)) + 12;
    if (options.marks?.length) area.top += 0.6 * font;
    const step = (area.bottom - area.top) / rows.length;
    const at = i => area.top + (i + (narrow ? 0.72 : 0.5)) * step;
    area.left = names + 8;
    area.right = width - values - 8;
    area.axes(options.x, {lo: 0, hi: 1, ticks: []});
    drawMarks(area, options);
    rows.forEach((row, i) => {
      const y = at(i);
      const text = (x, anchor, content, lift = 0.35) => area.root.append(svg('text', {x, y: y + lift * font, 'text-anchor': anchor,
        class: row.strong && 'strong'}, content));
      area.root.append(svg('line', {class: 'grid', x1: area.left, x2: area.right, y1: y, y2: y}));
      text(narrow ? 0 : names, narrow ? 'start' : 'end', row.name, narrow ? -0.65 : 0.35);
      text(width, 'end', row.text ?? num(row.value));
      const look = row.series ?? 0;
      const inside = v => Math.max(area.left, Math.min(area.right, area.x(v)));
      if (row.value < options.x.lo) {
        area.root.append(svg('path', {class: `shape c${look}`, d: `M${area.left},${y}l9,-6v12z`}));
        return;
      }
      if (row.error) area.root.append(svg('line', {class: `error c${look}`, x1: inside(row.value - row.error), x2: inside(row.value + row.error), y1: y, y2: y}));
      const shape = shapePath(look, inside(row.value), y, row.strong ? 7 : 5);
      if (row.strong) shape.classList.add('strong');
      area.root.append(shape);
    });
  }, () => ({columns: [options.label ?? '', options.x.label, t('chart.error')],
    rows: options.rows.map(row => [row.name, twinCell(row.text ?? num(row.value), row.cell), row.error ? num(row.error) : ''])}));
  const size = () => { options.height = options.rows.length * (chart.figure.clientWidth < 600 ? 34 : 23) + 60; };
  size();
  return {...chart, update: next => { Object.assign(options, next ?? {}); size(); chart.update(); }};
}

// Bars from zero. options: {title, unit, x: {label}, y: {label, lo, hi}, bars: [{name, value, error, text, series, cell}]}.
function barChart(root, options) {
  return chartFrame(root, options, area => {
    const values = options.bars.flatMap(bar => [bar.value + (bar.error ?? 0), bar.value - (bar.error ?? 0)]);
    const y = {...options.y, lo: options.y?.lo ?? Math.min(0, ...values), hi: options.y?.hi ?? Math.max(0, ...values)};
    const count = options.bars.length;
    area.axes({...options.x, lo: 0, hi: count, ticks: options.bars.map((bar, i) => i + 0.5), text: v => options.bars[v - 0.5].name}, y);
    drawMarks(area, options);
    const zero = area.y(Math.min(y.hi, Math.max(y.lo, 0)));
    options.bars.forEach((bar, i) => {
      const [a, b, end] = [area.x(i + 0.15), area.x(i + 0.85), area.y(bar.value)];
      const shape = svg('rect', {class: `bar c${(bar.series ?? 4) % 6}`, x: a, width: b - a, y: Math.min(zero, end), height: Math.abs(end - zero)});
      shape.append(svg('title', {}, `${bar.name}: ${bar.text ?? num(bar.value)}`));
      area.root.append(shape);
      if (bar.error) area.root.append(svg('line', {class: 'frame', x1: area.x(i + 0.5), x2: area.x(i + 0.5), y1: area.y(bar.value - bar.error), y2: area.y(bar.value + bar.error)}));
    });
  }, () => ({columns: [options.x?.label ?? t('chart.series'), options.y?.label ?? options.unit],
    rows: options.bars.map(bar => [bar.name, twinCell(bar.text ?? num(bar.value), bar.cell)])}));
}

// A histogram of counts between lo and hi, as the engine counts them. options: {title, unit, x, y: axes, lo, hi, counts,
// marks, bands, handles, series, under(area): drawn below the bars, over(area): above them}.
function histogramChart(root, options) {
  return chartFrame(root, options, area => {
    const {lo, hi, counts} = options;
    const most = counts.reduce((a, b) => Math.max(a, b), 1);
    const y = {lo: options.y?.log ? 0.8 : 0, hi: most, ...options.y};
    area.axes({...options.x, lo: options.x.lo ?? lo, hi: options.x.hi ?? hi}, y);
    options.under?.(area);
    drawMarks(area, options);
    const at = i => area.x(lo + (hi - lo) * i / counts.length);
    let path = '';
    counts.forEach((count, i) => { if (count) path += `M${at(i)},${area.bottom}V${area.y(count)}H${at(i + 1)}V${area.bottom}z`; });
    area.root.append(svg('path', {class: `bar c${(options.series ?? 4) % 6}`, d: path}));
    options.over?.(area);
  }, () => ({columns: [`${options.x.label} ≥`, '<', options.y?.label ?? options.unit],
    rows: Array.from(options.counts, (count, i) => [options.lo + (options.hi - options.lo) * i / options.counts.length,
      options.lo + (options.hi - options.lo) * (i + 1) / options.counts.length, count].map(v => num(v)))}));
}

// Bands {from, to} over x and dashed marks {x|y, text, above: text over the line's end, left of it or, with start, right; middle: text of a y not at the right end}.
function drawMarks(area, {bands = [], marks = []}) {
  for (const {from, to} of bands) {
    area.root.append(svg('rect', {class: 'band', x: area.x(from), width: Math.max(0, area.x(to) - area.x(from)), y: area.top, height: area.bottom - area.top}));
  }
  for (const mark of marks) {
    const along = mark.y === undefined ? {x1: area.x(mark.x), x2: area.x(mark.x), y1: area.top, y2: area.bottom}
      : {x1: area.left, x2: area.right, y1: area.y(mark.y), y2: area.y(mark.y)};
    area.root.append(svg('line', {class: 'mark', ...along}));
    if (!mark.text) continue;
    const late = mark.y === undefined && along.x1 > 0.6 * area.width;
    const lift = mark.above ? -0.4 * area.font : area.font;
    area.root.append(svg('text', mark.y === undefined ? {x: along.x1 + (mark.above ? 0 : late ? -5 : 5), y: area.top + lift,
      'text-anchor': mark.start ? 'start' : mark.above ? 'end' : late ? 'end' : 'start'}
      : {x: mark.middle ? 0.4 * area.left + 0.6 * area.right : area.right, y: along.y1 - 4, 'text-anchor': mark.middle ? 'middle' : 'end'}, mark.text));
  }
}
