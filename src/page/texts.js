// Every text of the page, one flat table a language; texts_fr.js and texts_de.js have the same keys. {name} is filled in
// by t(). Formats, file names, commands and the cells of the program's tables are not translated.
'use strict';

const TEXTS = {};

TEXTS.en = {
  'frame.title': 'Quantization, live',
  'frame.lead': 'One small network, its weights in 32 bits down to 2, and the integer engine that made every table, running in this page.',
  'frame.skip': 'To the content',
  'frame.contents': 'Contents',
  'frame.tables': 'The program’s tables',
  'frame.tables.lead': 'As mnistq wrote them; below each, the command that makes it.',
  'frame.tables.short': 'Tables',
  'frame.footer': 'Made by `mnistq page`: one file, no network, no cookies.',
  'frame.language': 'Language',
  'frame.theme': 'Colours',
  'frame.theme.auto': 'As the system',
  'frame.theme.light': 'Light',
  'frame.theme.dark': 'Dark',
  'frame.loading': 'Starting the engine…',
  'frame.failed': 'The engine does not run here ({error}). The live parts are missing; the program’s tables below are complete.',
  'frame.section.failed': 'This section could not be built: {error}',
  'chart.data': 'Data as a table',
  'chart.series': 'series',
  'chart.error': 'standard error',

  // ---- sections 0, 1, 2, 8 ----
  'section.check': 'Self-check',
  'section.affine': 'The affine map',
  'section.ladder': 'The ladder',
  'section.provenance': 'Where it all comes from',

  // ---- sections 3 to 7 ----
};

let language = 'en';

// The text of key in the current language, English where a translation lacks it; {name} from params.
function t(key, params = {}) {
  const text = TEXTS[language]?.[key] ?? TEXTS.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => params[name] ?? whole);
}

// A number as the language writes it, with a true minus sign. digits: behind the point; without it, up to 6 significant.
function num(value, digits) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : value > 0 ? '∞' : '−∞';
  const shape = digits === undefined ? {maximumSignificantDigits: 6}
    : {minimumFractionDigits: digits, maximumFractionDigits: digits};
  return new Intl.NumberFormat(language, shape).format(value).replace('-', '−');
}

// A cell of the program's tables: a number keeps its digits and its sign, in the language's way; text stays as it is.
function cellText(cell) {
  const parts = /^([+-]?)(\d+)(?:\.(\d+))?$/.exec(cell);
  if (!parts) return cell;
  return (parts[1] === '+' ? '+' : '') + num(Number(cell), parts[3]?.length ?? 0);
}
