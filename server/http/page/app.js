// The page of a Longtake server. It shows the start page, or, at #videos/{id}, a video: played while it is made, with a
// timeline of its blocks and a form that changes its prompt.
import {call, recents} from './api.js';
import {$, act, add, clamp, clock, setText, showError, spell} from './dom.js';
import {renderRecent, startHome} from './home.js';
import {Watching} from './watching.js';

const HUES = [268, 45, 165, 330, 100, 215, 15, 300];  // Of prompts, in turns: neighbours are far apart.

const video = $('video');
const hue = (prompt) => HUES[prompt % HUES.length];
let watching = null;   // The video that is shown, if one is.
let dragged = null;    // Where the playhead is dragged to, in seconds.
let flash = '';        // A short message in place of the status.

// For screen readers: only what matters, for everything else would be chatter.
const announce = (text) => setText($('live'), text);

function notice(text) {
  flash = text;
  announce(text);
  setTimeout(() => { if (flash === text) flash = ''; }, 2500);
}

// ---- Which view is shown.

function show(view) {
  for (const name of ['home', 'missing', 'watch']) $(name).hidden = name !== view;
  $('new').hidden = view !== 'watch';
}

function fail(error) {
  watching = null;
  show('missing');
  setText($('missing-text'), error.status === 404 ? 'It never was, was deleted, or is no longer kept.' : error.message);
  document.title = 'Longtake';
}

async function route() {
  watching?.stop();
  watching = null;
  const [, id, link = ''] = location.hash.match(/^#videos\/([\w.-]+)(?:\?link=([\w-]+))?$/) ?? [];
  if (!id) {
    document.title = 'Longtake';
    show('home');
    renderRecent();
    return $('prompt').focus({preventScroll: true});
  }
  const mine = watching = new Watching(id, {changed: render, announce, fail}, link);
  $('blocks').replaceChildren();
  $('prompts').replaceChildren();
  showError($('direct-error'), null);
  showError($('share-error'), null);
  $('download').href = `v1/${mine.address('/content')}`;
  $('side').hidden = Boolean(link);
  $('download').download = `longtake-${id.slice(0, 8)}.mp4`;
  $('player').classList.add('empty');
  show('watch');
  await mine.start().catch((error) => { if (watching === mine) mine.fail(error); });
}

// ---- The view of a video.

function render() {
  if (!watching?.video) return;
  const {total, made, blocks, active} = watching;
  const now = video.currentTime;
  const title = watching.video.prompt ?? 'A shared video';  // Whoever has only a link is not told the prompt.
  setText($('watch-title'), title);
  document.title = `${title} – Longtake`;
  setText($('time'), clock(dragged ?? now));
  setText($('total'), clock(total));
  $('stop').hidden = !active || Boolean(watching.link);
  $('player').style.setProperty('--aspect', watching.video.size.replace('x', ' / '));
  $('player').style.setProperty('--ratio', watching.video.size.split('x').reduce((width, height) => width / height));
  $('player').classList.toggle('empty', !watching.showsPicture);
  const {ended} = video;
  $('player').classList.toggle('paused', !watching.wants && !ended && watching.showsPicture);
  const icon = ended ? 'again' : watching.wants ? 'pause' : 'play';
  $('play').querySelector('use').setAttribute('href', `#icon-${icon}`);
  $('play').ariaLabel = {again: 'Play again', pause: 'Pause', play: 'Play'}[icon];
  setText($('status'), flash || statusText(now, made));
  renderOverlay(ended);
  renderBlocks(blocks);
  renderPrompts(now);
  renderMadeWith();
  renderForm(now);
  const timeline = $('timeline');
  const shown = watching.prompts[watching.promptOf(watching.blockAt(now))]?.prompt ?? '';
  timeline.ariaValueMax = total.toFixed(1);
  timeline.ariaValueNow = now.toFixed(1);
  timeline.ariaValueText = `${clock(now)} of ${clock(total)}, block ${watching.blockAt(now) + 1}: ${shown}`;
}

function statusText(now, made) {
  const {video: about, active, activity} = watching;
  if (about.status === 'failed') return `It failed: ${about.error?.message ?? 'the server does not say why'}`;
  if (about.status === 'cancelled') return `Stopped at ${clock(made)}`;
  if (!active) return 'All of it is made';
  const lead = made > 0 ? `${spell(made - now)} ahead` : '';
  return [lead, activity].filter(Boolean).join(' · ');
}

function renderOverlay(ended) {
  let text = '';
  if (!watching.showsPicture) {
    const first = watching.quote?.first_chunk_seconds;
    text = watching.activity.includes('queue') ? watching.activity
      : first ? `First picture in about ${spell(first)}` : 'One moment';
    if (!watching.active && watching.made === 0) text = 'Nothing of it was made.';
  } else if (watching.wants && video.paused && !ended && watching.active) {
    text = watching.stalls ? 'Catching up' : '';
  }
  $('overlay').classList.toggle('shown', Boolean(text));
  if (text) setText($('overlay-text'), text);
}

function renderBlocks(blocks) {
  const place = $('blocks');
  if (place.childElementCount !== blocks.length) {
    place.replaceChildren();
    for (const block of blocks) {
      const bar = add(place, 'div', 'block');
      bar.style.setProperty('--seconds', block.seconds);
      add(bar, 'i', '');
    }
    place.style.setProperty('--gap', blocks.length > 120 ? '0px' : blocks.length > 40 ? '1px' : '3px');
  }
  blocks.forEach((block, index) => {
    const bar = place.children[index];
    const state = `${watching.promptOf(index)} ${block.share}`;
    if (bar.dataset.state === state) return;
    Object.assign(bar.dataset, {state, prompt: watching.promptOf(index)});
    bar.style.setProperty('--hue', hue(watching.promptOf(index)));
    bar.style.setProperty('--made', block.share);
    bar.classList.toggle('making', block.share < 1);
    bar.classList.toggle('made', block.share === 1);
  });
}

function renderPrompts(now) {
  const shown = watching.promptOf(watching.blockAt(now));
  watching.prompts.forEach((prompt, number) => {
    let item = $('prompts').children[number];
    if (!item) {
      item = add($('prompts'), 'li', '');
      const button = add(item, 'button', '');
      button.type = 'button';
      add(button, 'span', 'swatch').style.setProperty('--hue', hue(number));
      add(button, 'span', 'words');
      add(button, 'span', 'when');
      button.addEventListener('click', () => watching.seek(watching.prompts[number].start));
    }
    item.classList.toggle('shown', number === shown);
    item.ariaCurrent = number === shown ? 'true' : null;
    setText(item.querySelector('.words'), prompt.prompt ?? `Prompt ${number + 1}`);
    const away = prompt.start - now;
    const when = number ? `From ${clock(prompt.start, 1)}, block ${prompt.block + 1}` : 'From the beginning';
    setText(item.querySelector('.when'), away > 0.05 ? `${when} · in ${spell(away)}` : when);
  });
}

function renderMadeWith() {
  const {adapters = [], decoder} = watching.video;
  const parts = adapters.map(({name, strength}) => (strength === 1 ? name : `${name} at ${strength.toFixed(2)}`));
  if (decoder === 'tiny') parts.push('the preview decoder');
  $('made-with').hidden = !parts.length;
  setText($('made-with'), `Made with ${parts.join(', ')}.`);
}

function renderForm(now) {
  const next = watching.nextBlock;
  const here = watching.blocks[watching.blockAt(dragged ?? now)];
  $('change').disabled = !next;
  $('change').classList.toggle('primary', Boolean(next));
  $('fork').classList.toggle('primary', !next);
  const kept = here.start > 0 ? `A fork keeps everything before ${clock(here.start, 1)}` : 'A fork here begins anew';
  $('fork').title = kept;
  setText($('hint'), next ? `A change shows from ${clock(next.start, 1)} on, in about ${spell(next.start - now)}.`
    : `${kept}. The rest follows the new prompt.`);
}

async function changePrompt(current, prompt) {
  try {
    return await call(`videos/${current.id}/prompt`, {body: {prompt}});
  } catch (error) {
    if (error.status === 409) error.message = 'No block is left that could begin with a new prompt. Fork it instead.';
    throw error;
  }
}

// Enter changes the prompt, or forks where nothing is left to change.
$('direct').addEventListener('submit', (event) => {
  event.preventDefault();
  const current = watching;
  const isFork = event.submitter ? event.submitter.value === 'fork' : $('change').disabled;
  const prompt = $('next').value.trim();
  act(isFork ? $('fork') : $('change'), $('direct-error'), async () => {
    if (!prompt) {
      $('next').focus();
      throw new Error('Write what happens next first.');
    }
    if (!isFork) {
      const receipt = await changePrompt(current, prompt);
      current.learn(receipt.prompt, {prompt, block: receipt.block, start: receipt.start});
      notice(`New prompt from ${clock(receipt.start, 1)}, block ${receipt.block + 1}`);
    } else {
      const block = current.blockAt(video.currentTime);
      const forked = await call(`videos/${current.id}/fork`, {body: {from_block: block, prompt}});
      // It is watched from a second before the fork on, so that the change is seen.
      const position = Math.max(0, current.blocks[block].start - 1);
      recents.update(forked.id, {prompt: forked.prompt, seconds: Number(forked.seconds), position});
      location.hash = `videos/${forked.id}`;
      announce(`Forked at ${clock(current.blocks[block].start, 1)}`);
    }
    $('next').value = '';
  });
});

for (const [text, form] of [['prompt', 'make'], ['next', 'direct']]) {
  $(text).addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    $(form).requestSubmit();
  });
}

// ---- Playing.

$('play').addEventListener('click', () => watching?.toggle());
$('player').addEventListener('click', () => watching?.toggle());
$('full').addEventListener('click', () => {
  if (document.fullscreenElement) document.exitFullscreen();
  else if ($('player').requestFullscreen) $('player').requestFullscreen();
  else video.webkitEnterFullscreen?.();  // Of phones that show only the video itself in full.
});
$('stop').addEventListener('click', () => act($('stop'), $('direct-error'), async () => {
  await call(`videos/${watching.id}/cancel`, {body: {}});
  announce('It is not made further.');
}));

// An address of the page that others can open. Where callers are asked who they are it needs a link, which expires.
async function shareable(current) {
  if (current.link) return location.href;
  try {
    const {link} = await call(`videos/${current.id}/link`, {body: {}});
    return new URL(`#videos/${current.id}?link=${link}`, location.href).href;
  } catch (error) {
    if (error.code === 'LINKS_UNAVAILABLE') return location.href;
    throw error;
  }
}

$('share').addEventListener('click', () => act($('share'), $('share-error'), async () => {
  const address = await shareable(watching);
  try {
    await navigator.clipboard.writeText(address);
    notice('Link copied');
  } catch {  // Pages without TLS may not write to the clipboard.
    window.prompt('The link to this video', address);
  }
}));

function toTime(event) {
  const {left, width} = $('blocks').getBoundingClientRect();
  return clamp((event.clientX - left) / width * watching.total, 0, watching.made);
}

$('timeline').addEventListener('pointerdown', (event) => {
  if (!watching?.video) return;
  $('timeline').setPointerCapture(event.pointerId);
  dragged = toTime(event);
});
$('timeline').addEventListener('pointermove', (event) => { if (dragged !== null) dragged = toTime(event); });
$('timeline').addEventListener('pointerup', () => { if (dragged !== null) watching?.seek(dragged); dragged = null; });
$('timeline').addEventListener('pointercancel', () => { dragged = null; });
$('timeline').addEventListener('keydown', (event) => {
  if (!watching?.video) return;
  const now = video.currentTime;
  const at = watching.blockAt(now);
  const start = (index) => watching.blocks[clamp(index, 0, watching.blocks.length - 1)].start;
  const to = {ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, Home: 0, End: watching.made,
              PageUp: start(at + 1), PageDown: start(at - 1)}[event.key];
  if (to === undefined) return;
  event.preventDefault();
  watching.seek(to);
});
document.addEventListener('keydown', (event) => {
  if (event.key !== ' ' || !watching || event.target.closest('input, textarea, select, button, a')) return;
  event.preventDefault();
  watching.toggle();
});

(function movePlayhead() {
  if (watching?.total) $('playhead').style.left = `${100 * clamp((dragged ?? video.currentTime) / watching.total, 0, 1)}%`;
  requestAnimationFrame(movePlayhead);
})();

window.addEventListener('hashchange', route);
startHome();
route();
