// Section 8: everything to take away, and whose it is.
'use strict';

// A button that saves bytes() as a file of this name.
function downloadButton(name, bytes) {
  return el('button', {type: 'button', on: {click: async () => {
    const address = URL.createObjectURL(new Blob([await bytes()]));
    const link = el('a', {href: address, download: name});
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  }}}, name);
}

// The CSV file that a table was read from: cells with a comma, a quote, '#' or the end of a line in quotes.
function csvText({columns, rows, facts}) {
  const line = cells => cells.map(cell => /[",#\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell).join(',') + '\n';
  return line(columns) + rows.map(row => line(columns.map(column => row[column]))).join('') + facts.map(fact => `# ${fact}\n`).join('');
}

registerSection({id: 'provenance', build(root, ctx) {
  const {facts, tables} = ctx;
  root.append(el('p', {class: 'lead'}, t('provenance.lead')), el('h3', {}, t('provenance.models')), el('p', {}, t('provenance.models.text')));
  dataTable(root, {caption: t('provenance.models'), columns: [t('provenance.column.get'), t('check.column.bytes'), t('check.column.sha')], rows: [
    ...Object.entries(facts.models).map(([name, fact]) => [downloadButton(fact.file, () => blob(`model/${name}`)), num(fact.bytes),
      shaCell(fact.sha256)]),
    [el('span', {}, downloadButton('engine.wasm', () => blob('wasm'))), num(facts.wasm.bytes), shaCell(facts.wasm.sha256)]]});
  root.append(el('h3', {}, t('provenance.tables')), el('p', {}, t('provenance.tables.text')));
  dataTable(root, {caption: t('provenance.tables'), columns: ['table', 'rows', 'get'].map(key => t(`provenance.column.${key}`)),
    rows: Object.entries(tables).map(([name, table]) => [el('a', {href: `#table-${name}`, lang: 'en'}, `${table.title} · ${name}`), num(table.rows.length),
      downloadButton(`${name}.csv`, () => csvText(table))])});
  const credit = facts.dataset === 'MNIST' ? 'mnist' : /digits/.test(facts.dataset) ? 'digits' : 'other';
  root.append(el('h3', {}, t('provenance.credit')), el('p', {}, t(`provenance.${credit}`, {dataset: facts.dataset})), el('p', {}, t('provenance.licence')));
}});
