// Small helpers: elements by name, their texts, and how times are written.

export const $ = (id) => document.getElementById(id);
export const clamp = (value, least, most) => Math.max(least, Math.min(most, value));
export const sleep = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
// Tenths only where they matter: what changes ten times a second is hard to read.
export const spell = (seconds) => `${seconds < 2.95 ? Math.max(0.1, seconds).toFixed(1) : Math.round(seconds)}\u00a0s`;

export function clock(seconds, digits = 0) {
  const whole = Math.floor(seconds * 10 ** digits + 1e-6) / 10 ** digits;
  return `${Math.floor(whole / 60)}:${(whole % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, '0')}`;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function showError(element, error) {
  element.hidden = !error;
  setText(element, error?.message ?? '');
}

export function add(parent, tag, className, text = '') {
  const element = parent.appendChild(document.createElement(tag));
  element.className = className;
  element.textContent = text;
  return element;
}

// Runs what a button does; meanwhile it is busy, and an error is shown in `place`.
export async function act(button, place, work) {
  if (button.ariaBusy === 'true') return;
  button.ariaBusy = 'true';
  showError(place, null);
  try { await work(); } catch (error) { showError(place, error); }
  button.ariaBusy = null;
}
