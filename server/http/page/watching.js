// One video that is being watched: reads its chunks while they are made, plays them, and keeps what is known of its blocks
// and prompts. It shows nothing itself but the pictures: `view` is told when something has changed.
import {ApiError, MessageReader, call, recents, request} from './api.js';
import {$, clamp, sleep} from './dom.js';

const AHEAD_SECONDS = 30;   // No more is read while so much is buffered ahead of the playhead.
const HLS_BLOCKS = 3;       // Chromium's player of HLS gives up on a list that grows and has fewer.
const HLS_FAILURES = 8;     // So many times without a picture in between it is tried.
const BEHIND_SECONDS = 20;  // What is older than this leaves the buffer.

const video = $('video');
const Source = window.MediaSource ?? window.ManagedMediaSource;
const viewerId = [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
const once = (target, name) => new Promise((done) => target.addEventListener(name, done, {once: true}));

export class Watching {
  constructor(id, view, link = '') {
    this.id = id;
    this.link = link;                   // By which it is watched; empty: by none. It permits nothing else.
    this.view = view;                   // changed(), announce(text), fail(error).
    this.gone = new AbortController();  // Ends everything that belongs to this watching.
    this.prompts = recents.get(id).prompts ?? [];  // By number: {prompt, block, start}.
    this.blocks = [];                   // {start, seconds, prompt, made: seconds, share: of its work that is done, 0 to 1}.
    this.wants = true;                  // Whether the viewer wants it to play.
    this.stalls = 0;
    this.activity = '';                 // What is being done now, in words.
    this.reportAt = 0;
    this.showsPicture = false;          // Whether a picture of it has been on the screen.
    this.kept = Boolean(recents.get(id).picture);
  }

  get total() { return Number(this.video?.seconds ?? 0); }
  get active() { return ['queued', 'in_progress'].includes(this.video?.status); }
  get made() {  // To where it is made without a gap.
    const open = this.blocks.find((block) => block.made < block.seconds - 0.001);
    return open ? open.start + open.made : this.total;
  }
  get bufferedUntil() {
    const {buffered, currentTime} = video;
    for (let i = 0; i < buffered.length; ++i) {
      if (buffered.start(i) <= currentTime + 0.1 && buffered.end(i) > currentTime) return buffered.end(i);
    }
    return currentTime;
  }
  get ahead() { return this.bufferedUntil - video.currentTime; }
  get isLast() { return this.bufferedUntil >= (this.active ? this.total : this.made) - 0.05; }

  get nextBlock() {  // The first of which nothing has been done: a new prompt shows from there on. None: undefined.
    return this.active ? this.blocks[this.blocks.findLastIndex((block) => block.share > 0) + 1] : undefined;
  }

  // An address of the video behind "v1/".
  address(file = '', parameters = {}) {
    const query = new URLSearchParams(this.link ? {...parameters, link: this.link} : parameters).toString();
    return `videos/${this.id}${file}${query && `?${query}`}`;
  }

  // What a link shows is not remembered: without the link it could not be opened again.
  remember(fields) {
    if (!this.link) recents.update(this.id, fields);
  }

  blockAt(seconds) {
    return Math.max(0, this.blocks.findLastIndex((block) => block.start <= seconds + 0.001));
  }

  promptOf(index) {  // The newest prompt that holds there.
    let found = 0;
    this.prompts.forEach((prompt, number) => { if (prompt && prompt.block <= index) found = number; });
    return found;
  }

  // Listens to the player as long as this is watched.
  on(name, act) {
    video.addEventListener(name, act, {signal: this.gone.signal});
  }

  async start() {
    this.on('waiting', () => this.stall());
    this.on('pause', () => this.report());
    this.on('playing', () => this.report());
    this.on('seeked', () => this.report());
    this.on('ended', () => { this.wants = false; this.report(); });
    this.take(await call(this.address(), {signal: this.gone.signal}));
    const {position = 0} = recents.get(this.id);
    this.from = position < this.total - 1 && position <= this.made ? position : 0;
    this.remember({prompt: this.video.prompt, seconds: this.total});
    this.view.changed();
    this.timers = [setInterval(() => this.decide(), 100), setInterval(() => this.poll(), 1000)];
    if (Source) this.read(this.blockAt(this.from)); else this.playHls();
  }

  stop() {
    this.gone.abort();
    this.reading?.abort();
    this.timers?.forEach(clearInterval);
    video.removeAttribute('src');
    video.load();
  }

  // Takes over what the server says of the video.
  take(told) {
    this.video = told;
    if (!this.blocks.length) this.blocks = told.blocks.map((block) => ({...block, made: 0, share: 0}));
    this.blocks.slice(0, told.made_blocks ?? 0).forEach((block) => Object.assign(block, {made: block.seconds, share: 1}));
    this.learn(0, {prompt: told.prompt, block: 0, start: 0});
    (told.prompt_changes ?? []).forEach(({prompt, block}, index) => {
      if (this.blocks[block]) this.learn(index + 1, {prompt, block, start: this.blocks[block].start});
    });
  }

  learn(number, fields) {
    this.prompts[number] = {...this.prompts[number], ...fields};
    this.remember({prompts: this.prompts});  // The server need not know a changed prompt's words later on.
  }

  // Reads the watch from a block on and feeds the player; after a broken connection it goes on with the block that it was at.
  async read(from) {
    this.reading?.abort();
    const {signal} = (this.reading = new AbortController());
    for (let failures = 0; from < this.blocks.length; ++failures, await sleep(Math.min(0.5 * 2 ** failures, 8))) {
      try {
        const response = await request(this.address('/watch', {from_block: from, viewer_id: viewerId}), {signal});
        const messages = new MessageReader(response.body);
        for (let message; (message = await messages.next()) && !signal.aborted; failures = 0) {
          await this.handle(message);
          if (message.event === 'finished' || message.event === 'error') return;
          if (message.event === 'chunk') from = message.block + (message.last_in_block ? 1 : 0);
          this.held = this.ahead > AHEAD_SECONDS;
          while (this.ahead > AHEAD_SECONDS && !signal.aborted) await sleep(0.2);
          this.held = false;
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error.status >= 400 && error.status < 500) return this.fail(error);
        if (video.error) return this.fail(new ApiError(`The browser cannot play it: ${video.error.message}`, 415));
      }
      if (signal.aborted) return;
      this.activity = 'Connection lost, trying again';
    }
    this.end();
  }

  async handle(message) {
    const block = this.blocks[message.block];
    if (message.event === 'accepted') {
      this.quote = message.quote;
      if (!this.source) await this.openSource(message.media_type);
    } else if (message.event === 'init_segment') {
      await this.append(message.data);
      if (this.from) video.currentTime = this.from;
      this.from = 0;
    } else if (message.event === 'waiting') {
      this.activity = message.position > 1 ? `Number ${message.position} in the queue` : 'Next in the queue';
    } else if (message.event === 'progress' && block) {
      this.video.status = 'in_progress';
      const done = message.step / message.steps;
      // Denoising is most of a block's work; the rest shows as its chunks arrive.
      if (message.kind === 'denoise') block.share = Math.max(block.share, 0.7 * done);
      const work = {encode_prompt: 'reading the prompt', denoise: `step ${message.step}/${message.steps}`}[message.kind];
      this.activity = `Block ${message.block + 1}/${this.blocks.length}${work ? `, ${work}` : ''}`;
    } else if (message.event === 'prompt_changed') {
      this.learn(message.prompt, {block: message.block, start: message.start});
    } else if (message.event === 'chunk') {
      await this.append(message.data);
      const end = message.start + message.seconds - block.start;
      if (block.made < end - 0.02) this.measure(message);
      block.made = Math.max(block.made, message.last_in_block ? block.seconds : Math.min(end, block.seconds - 0.01));
      block.share = Math.max(block.share, message.last_in_block ? 1 : 0.7 + 0.3 * (end / block.seconds));
      if (!this.prompts[message.prompt]) this.learn(message.prompt, {block: message.block, start: block.start});
      this.decide();
    } else if (message.event === 'finished') {
      this.video.status = 'completed';
      this.end();
    } else if (message.event === 'error') {
      this.video.status = message.code === 'VIDEO_CANCELLED' ? 'cancelled' : 'failed';
      this.video.error = {message: message.message};
      this.end();
    }
  }

  // Measures how fast it is made: seconds of video a second, from the first chunk that was not there before on.
  measure(chunk) {
    const now = performance.now() / 1000;
    this.since ??= {now, made: chunk.start};
    if (now - this.since.now > 0.5) this.speed = (chunk.start + chunk.seconds - this.since.made) / (now - this.since.now);
  }

  // Nothing more comes.
  end() {
    this.activity = '';
    if (this.source?.readyState === 'open' && !this.buffer?.updating) this.source.endOfStream();
    this.poll(true);
  }

  fail(error) {
    this.stop();
    if (error.status === 404) recents.remove(this.id);
    this.view.fail(error);
  }

  async openSource(mediaType) {
    if (!Source.isTypeSupported(mediaType)) throw new ApiError(`This browser cannot play ${mediaType}.`, 415);
    this.source = new Source();
    video.src = URL.createObjectURL(this.source);
    await once(this.source, 'sourceopen');
    URL.revokeObjectURL(video.src);
    this.buffer = this.source.addSourceBuffer(mediaType);
    this.source.duration = this.total;
  }

  async append(data) {
    for (;;) {
      while (this.buffer.updating) await once(this.buffer, 'updateend');
      const old = video.currentTime - BEHIND_SECONDS;
      const {buffered} = this.buffer;
      if (buffered.length && buffered.start(0) < old - 5) {
        this.buffer.remove(0, old);
        continue;
      }
      try {
        this.buffer.appendBuffer(data);
        return void (await once(this.buffer, 'updateend'));
      } catch (error) {
        if (error.name !== 'QuotaExceededError') throw error;
        await sleep(0.5);  // Until playing has made room.
      }
    }
  }

  playHls() {
    if (!video.canPlayType('application/vnd.apple.mpegurl')) {
      return this.fail(new ApiError('This browser can play neither Media Source Extensions nor HLS.', 415));
    }
    let {from} = this, failures = 0;
    // Players begin a live list near its end.
    this.on('loadedmetadata', () => { if (Math.abs(video.currentTime - from) > 0.5) video.currentTime = from; });
    const load = () => {
      if (this.gone.signal.aborted) return;
      const enough = this.blocks[Math.min(this.blockAt(from) + HLS_BLOCKS, this.blocks.length) - 1];
      if (enough.made < enough.seconds && (this.active || this.made === 0)) return void setTimeout(load, 300);
      video.src = `v1/${this.address('/index.m3u8')}`;
      // Chromium's player seeks when a list that grows goes on after a pause, and gives up where it has read all of it.
      if (this.wants) this.play();
    };
    // So it does when the viewer has paused it. Loaded again, it goes on.
    this.on('error', () => {
      if (!video.error) return;
      failures = video.currentTime > from ? 1 : failures + 1;
      if (failures > HLS_FAILURES) return this.fail(new ApiError(`The browser cannot play it: ${video.error.message}`, 415));
      from = Math.max(from, video.currentTime);
      setTimeout(load, 1000);
    });
    load();
  }

  // While nothing is read from the watch, the video's object says how the making goes on.
  async poll(always = false) {
    if (!always && (!this.active || (Source && !this.held))) return;
    try {
      const told = await call(this.address(), {signal: this.gone.signal});
      this.take(told);
      if (this.active && (this.held || !Source)) this.activity = `${told.made_blocks} of ${this.blocks.length} blocks made`;
    } catch { /* The next one may succeed. */ }
  }

  // How much must be buffered before it plays, so that it does not stop again: a block, and what playing will outrun the
  // making by, up to a few seconds.
  get enough() {
    const left = this.total - this.bufferedUntil;
    const outrun = this.speed ? left * Math.max(0, 1 / this.speed - 1) : 0;
    const block = this.blocks[0].seconds - 0.05;
    return clamp(outrun, this.stalls ? 2 * block : block, this.stalls ? 6 : 4);
  }

  decide() {
    if (video.readyState >= 2 && !this.showsPicture) {
      this.showsPicture = true;
      this.view.announce('The first picture is there.');
    }
    const ready = this.isLast || this.ahead >= this.enough || (!Source && video.readyState >= 3);
    if (this.wants && video.paused && !video.ended && video.readyState >= 2 && ready) {
      this.play();
    }
    if (!this.kept && this.showsPicture && video.currentTime > 0.4) this.keepPicture();
    if (performance.now() > this.reportAt) this.report();
    this.view.changed();
  }

  play() {
    video.play().catch((error) => { if (error.name === 'NotAllowedError') this.wants = false; });
  }

  stall() {
    if (video.seeking || video.ended || this.isLast || !Source) return;
    ++this.stalls;
    video.pause();  // decide() goes on when there is enough.
  }

  toggle() {
    this.wants = !this.wants;
    if (!this.wants) video.pause();
    else if (video.ended) this.seek(0);
    this.decide();
  }

  seek(seconds) {
    const to = clamp(seconds, 0, Math.max(0, this.made - 0.05));
    const {buffered} = video;
    let isThere = !Source;
    for (let i = 0; i < buffered.length; ++i) isThere ||= buffered.start(i) <= to && to < buffered.end(i);
    video.currentTime = to;
    if (!isThere) this.read(this.blockAt(to));
    this.view.changed();
  }

  // Tells the server where the viewer is, so that it makes in time what is needed next.
  async report() {
    this.reportAt = performance.now() + 10000;
    this.remember({position: video.ended ? 0 : video.currentTime});
    if (!Source || this.link) return;  // Of HLS the server knows no viewers, and a link may not report.
    try {
      const body = {viewer_id: viewerId, position: video.currentTime, paused: !this.wants};
      const answer = await call(`videos/${this.id}/playback`, {body, signal: this.gone.signal, keepalive: true});
      this.reportAt = performance.now() + 1000 * clamp(answer.report_after_seconds ?? 10, 0.5, 60);
    } catch { /* Pacing then follows what is read. */ }
  }

  keepPicture() {
    this.kept = true;
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [192, 192 * video.videoHeight / video.videoWidth];
    canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
    this.remember({picture: canvas.toDataURL('image/jpeg', 0.8)});
  }
}
