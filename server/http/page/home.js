// The start page: what to make, what that would take, and the videos of before.
import {call, recents} from './api.js';
import {$, act, add, clock, setText, showError, spell} from './dom.js';

const LIVE_LEAD_SECONDS = 8;  // A video that is directed live is made so far ahead, so that a new prompt shows soon.

const wanted = () => ({
  prompt: $('prompt').value.trim(),
  seconds: Number($('seconds').value),
  ...($('size').value && {size: $('size').value}),
  ...($('direct-live').checked && {max_lead_seconds: LIVE_LEAD_SECONDS}),
  ...($('preview').checked && {decoder: 'tiny'}),
  adapters: chosenAdapters(),
});

function chosenAdapters() {
  const rows = [...$('adapters').querySelectorAll('.adapter')].filter((row) => row.querySelector('[type=checkbox]').checked);
  return rows.map((row) => ({name: row.dataset.name, strength: Number(row.querySelector('[type=range]').value)}));
}

// The chosen file as a data URL. Quotes go without it: they take as long.
async function firstPicture() {
  const [file] = $('first-picture').files;
  if (!file || $('first-picture-place').hidden) return {};
  const reader = new FileReader();
  await new Promise((done, failed) => {
    Object.assign(reader, {onload: done, onerror: () => failed(new Error('The picture cannot be read.'))});
    reader.readAsDataURL(file);
  });
  return {input_reference: reader.result};
}

function showFirstPicture() {
  const [file] = $('first-picture').files;
  setText($('first-picture-name'), file ? file.name : 'First picture');
  $('first-picture-remove').hidden = !file;
}

async function loadModel() {
  const model = (await call('models')).data[0];
  $('seconds').max = Math.max(2, Math.floor(model.max_seconds));
  describe(model);
  $('first-picture-place').hidden = !model.accepts_first_image;
  $('direct-live').parentElement.hidden = model.switches_prompt === false;
  $('size').replaceChildren(...model.sizes.map((size) => new Option(size.replace('x', ' × '), size)));
  $('size').hidden = model.sizes.length < 2;
  $('preview-label').hidden = !model.decoders?.includes('tiny');
  offerAdapters(model.adapters ?? []);
  showLength();
}

// A row for each adapter that the server has: whether it is used, and how strongly.
function offerAdapters(names) {
  $('adapters').hidden = !names.length;
  $('adapters').querySelectorAll('.adapter').forEach((row) => row.remove());
  for (const name of names) {
    const row = add($('adapters'), 'div', 'adapter');
    row.dataset.name = name;
    const label = add(row, 'label', 'check');
    const used = Object.assign(add(label, 'input', ''), {type: 'checkbox'});
    add(label, 'span', '', name);
    const strength = Object.assign(add(row, 'input', ''), {type: 'range', min: 0, max: 2, step: 0.05, value: 1, disabled: true});
    strength.ariaLabel = `Strength of ${name}`;
    const shown = add(row, 'output', '', '1.00');
    row.addEventListener('input', () => {
      strength.disabled = !used.checked;
      setText(shown, Number(strength.value).toFixed(2));
    });
  }
}

// What the model knows, and prompts to begin with; a model's folder may say neither.
function describe({about = '', examples = []}) {
  $('about').hidden = !about;
  setText($('about'), about);
  $('examples').replaceChildren();
  for (const example of examples) {
    add($('examples'), 'button', '', example).addEventListener('click', () => {
      $('prompt').value = example;
      $('prompt').focus();
      askQuote();
    });
  }
  if (examples.length) {
    $('prompt').placeholder = examples[0];
    $('next').placeholder = examples[1] ?? examples[0];
  }
}

function showLength() {
  const seconds = Number($('seconds').value);
  setText($('length'), seconds < 60 ? `${seconds} s` : clock(seconds));
  $('seconds').setAttribute('aria-valuetext', `${seconds} seconds`);
}

let quoteTimer = 0;
function askQuote() {
  clearTimeout(quoteTimer);
  showError($('home-error'), null);
  if (!wanted().prompt) return setText($('quote'), '');
  quoteTimer = setTimeout(async () => {
    const body = wanted();
    const text = await call('quote', {body}).then(describeQuote, (error) => (error.retryAfter ? error.message : ''));
    if (body.prompt === wanted().prompt) setText($('quote'), text);
  }, 300);
}

function describeQuote({first_chunk_seconds: first, last_chunk_seconds: last, waiting}) {
  const queue = waiting > 0 ? `, after ${waiting} in the queue` : '';
  if (first === undefined) return '';
  return `First picture in about ${spell(first)}${queue}; all of it in about ${spell(last)}.`;
}

$('make').addEventListener('submit', (event) => {
  event.preventDefault();
  act($('make-button'), $('home-error'), async () => {
    if (!wanted().prompt) {
      $('prompt').focus();
      throw new Error('Describe what the video shows first.');
    }
    const made = await call('videos', {body: {...wanted(), ...await firstPicture(), on_disconnect: 'continue'}});
    recents.update(made.id, {prompt: made.prompt, seconds: Number(made.seconds)});
    location.hash = `videos/${made.id}`;
  });
});

export function renderRecent() {
  const list = recents.all();
  $('recent').hidden = !list.length;
  $('recent-list').replaceChildren();
  for (const {id, prompt, seconds, picture} of list) {
    const item = add($('recent-list'), 'li', '');
    const link = add(item, 'a', '');
    link.href = `#videos/${id}`;
    const image = add(link, picture ? 'img' : 'span', 'picture');
    if (picture) Object.assign(image, {src: picture, alt: ''});
    add(link, 'span', 'name', prompt);
    add(link, 'span', 'meta', clock(seconds));
    const remove = add(item, 'button', 'icon');
    remove.innerHTML = '<svg aria-hidden="true"><use href="#icon-remove"/></svg>';
    remove.ariaLabel = remove.title = 'Remove from this list';
    remove.addEventListener('click', () => { recents.remove(id); renderRecent(); $('prompt').focus({preventScroll: true}); });
  }
}

export function startHome() {
  $('first-picture').addEventListener('change', showFirstPicture);
  $('first-picture-remove').addEventListener('click', () => {
    $('first-picture').value = '';
    showFirstPicture();
    $('first-picture').focus();
  });
  for (const name of ['input', 'change']) $('make').addEventListener(name, () => { showLength(); askQuote(); });
  showLength();
  loadModel().catch((error) => showError($('home-error'), error));
}
