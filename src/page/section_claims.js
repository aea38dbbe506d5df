// Section 7: the lesson's claims with the program's verdicts, here and in the sections where they belong; the questions
// and the game are in section_questions.js and section_game.js.

const VERDICTS = {'reproduced': ['✓', 'good', 'yes'], 'reproduced with a difference': ['≈', 'soft', 'difference'], 'does not reproduce': ['✗', 'bad', 'no']};

// Where a claim belongs: by its id, or else by its part of the lesson.
const CLAIM_SECTIONS = {
  'weight-band': 'affine', 'digits-fp32': 'affine', 'digits-int8': 'affine', 'zero-point-6': 'affine', 'most-answers': 'draw', 'outlier-*': 'outliers',
  'exercise-tensor': 'outliers', 'saturation': 'calibration', 'relu-codes': 'calibration', 'exercise-drop': 'draw', 'drift-*': 'draw',
  'listing-drift-*': 'draw', 'The idea': 'ladder', 'The two equations': 'affine', 'The ladder': 'ladder', 'The rungs': 'ladder', 'Five weights': 'affine',
  'Per channel in NumPy': 'outliers', 'The PyTorch listing': 'ladder', 'Pitfalls': 'faults', 'The exercise': 'ladder',
};
function claimSection({id, part}) {
  const name = Object.keys(CLAIM_SECTIONS).find(key => key === id || key.endsWith('*') && id.startsWith(key.slice(0, -1)));
  return CLAIM_SECTIONS[name ?? part] ?? 'claims';
}

// The table has the claims by verdict; here they stand in the lesson's order.
const CLAIM_PARTS = ['The idea', 'The two equations', 'The ladder', 'The rungs', 'Five weights', 'Per channel in NumPy', 'The PyTorch listing', 'Pitfalls',
  'The exercise'];
const partOrder = part => (CLAIM_PARTS.indexOf(part) + CLAIM_PARTS.length + 1) % (CLAIM_PARTS.length + 1); // others last
const claimsOf = ctx => (ctx.tables.audit?.rows ?? []).map((row, index) => ({...row, index, section: claimSection(row)}))
  .sort((a, b) => partOrder(a.part) - partOrder(b.part));
const verdictOf = claim => VERDICTS[claim.verdict] ?? ['·', 'soft', 'other'];
const verdictText = claim => t(`claims.${verdictOf(claim)[2]}`);

// "9 ✓  2 ≈  1 ✗"
const countVerdicts = claims => Object.values(VERDICTS).map(([sign, , key]) => `${claims.filter(claim => verdictOf(claim)[2] === key).length} ${sign}`).join('  ');

// A table of claims; where: with a link to the section of each.
function claimTable(root, ctx, claims, where) {
  const cell = (claim, column) => el('span', {lang: 'en', 'data-cell': `audit/${claim.index}/${column}`}, claim[column]);
  const columns = ['verdict', 'claim', 'claimed', 'ours', 'explanation', ...(where ? ['where'] : [])];
  dataTable(root, {caption: t('claims.table'), columns: columns.map(column => t(`claims.table.${column}`)), rows: claims.map(claim => [
    el('span', {class: `mark ${verdictOf(claim)[1]}`}, `${verdictOf(claim)[0]} `, el('span', {class: 'small'}, verdictText(claim))),
    cell(claim, 'claim'), cell(claim, 'claimed'), cell(claim, 'ours'), cell(claim, 'explanation'),
    ...(where ? [el('a', {href: `#${claim.section}`}, t(`section.${claim.section}`))] : [])])});
}

// At the end of each section, what the lesson claims there.
function spreadClaims(ctx, claims) {
  for (const id of new Set(claims.map(claim => claim.section))) {
    const section = document.getElementById(id), here = claims.filter(claim => claim.section === id);
    if (!section || id === 'claims') continue;
    const details = el('details', {class: 'claims-here'}, el('summary', {}, t('claims.here', {count: here.length, verdicts: countVerdicts(here)})));
    originNotice(details, ctx, 'audit');
    claimTable(details, ctx, here, false);
    section.append(details);
  }
}

registerSection({id: 'claims', build(root, ctx) {
  const claims = claimsOf(ctx);
  if (claims.length) {
    root.append(el('p', {class: 'lead'}, t('claims.lead')));
    originNotice(root, ctx, 'audit');
    const figures = figureList(root, Object.values(VERDICTS).map(([sign, , key]) => [key, `${sign} ${t(`claims.${key}`)}`]));
    for (const [, , key] of Object.values(VERDICTS)) figures.set(key, num(claims.filter(claim => verdictOf(claim)[2] === key).length), t('claims.of', {count: claims.length}));
    const parts = el('div');
    choice(root, {label: t('claims.show'), value: 'all', options: ['all', 'yes', 'difference', 'no'].map(value => ({value, text: t(`claims.show.${value}`)})), onchange: show});
    root.append(parts);
    function show(key) {
      const open = key !== 'all';
      parts.replaceChildren();
      for (const part of new Set(claims.map(claim => claim.part))) {
        const some = claims.filter(claim => claim.part === part && (key === 'all' || verdictOf(claim)[2] === key));
        if (!some.length) continue;
        const details = el('details', {open}, el('summary', {}, el('span', {lang: 'en'}, part), ` · ${countVerdicts(some)}`));
        claimTable(details, ctx, some, true);
        parts.append(details);
      }
    }
    show('all');
    root.append(el('p', {class: 'small soft'}, t('claims.note')));
    spreadClaims(ctx, claims);
  } else {
    root.append(missingNotice(ctx));
  }
  buildQuestions(root, ctx);
  buildGame(root, ctx);
}});
