// The files that stand in the page.
'use strict';

let started; // tells those who wait for the engine
const engineStarted = new Promise((resolve) => { started = resolve; });

// The bytes of an embedded file, a script element with data-blob=NAME data-planes=N data-from=NAME: base64 of zlib, of N
// planes one after the other (all first bytes of N, all second ones, ...); data-from: see Engine.restored.
async function unpackBlob(name) {
  const element = document.querySelector(`script[data-blob="${name}"]`);
  if (!element) throw new Error(`${name}: not in this page`);
  const text = atob(element.textContent.trim()), packed = new Uint8Array(text.length);
  for (let i = 0; i < packed.length; i++) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream('deflate'));
  const planes = Number(element.dataset.planes), flat = new Uint8Array(await new Response(stream).arrayBuffer());
  const bytes = new Uint8Array(flat.length);
  for (let plane = 0, at = 0; plane < planes; plane++)
    for (let i = plane; i < bytes.length; i += planes) bytes[i] = flat[at++];
  if (!element.dataset.from) return bytes;
  return (await engineStarted).restored(element.dataset.from, bytes);
}
