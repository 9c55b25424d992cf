"""A stand-in for the server's HTTP port: serves the page and plays one fragmented MP4 as if it were being made.

python tests/web/mock_server.py [--port N] [--pace P] [--media FILE]. The first line of stdout says the port as the server's does.
"""

import argparse
import json
import re
import secrets
import struct
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "server/http/page"
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
FPS = 16
STEPS = 4
MAX_SECONDS = 64.06
CSP = "default-src 'self'; media-src 'self' blob:; img-src 'self' data:; frame-ancestors 'self'"


def test_pictures(folder):
    """A clip with a key frame where a block begins (frames 0, 17, 33, ...) and a fragment for every four frames."""
    path = Path(folder) / "clip.mp4"
    keys = "eq(n,0)+gt(n,1)*eq(mod(n-1,16),0)"
    source = f"testsrc2=size=256x160:rate={FPS}:duration={MAX_SECONDS}"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264", "-preset", "veryfast", "-bf", "0"]
    command += ["-pix_fmt", "yuv420p", "-g", "999", "-force_key_frames", f"expr:{keys}", "-frag_duration", "250000"]
    command += ["-movflags", "+frag_keyframe+empty_moov+default_base_moof", str(path)]
    subprocess.run(command, check=True)
    return path


class Media:
    """The init segment and the chunks [(first frame, frames, bytes)] of a fragmented MP4."""

    def __init__(self, path):
        data = Path(path).read_bytes()
        self.init, self.chunks, offset, frame = b"", [], 0, 0
        while offset < len(data):
            size, kind = struct.unpack_from(">I4s", data, offset)
            box = data[offset : offset + size]
            if kind in (b"ftyp", b"moov"):
                self.init += box
            elif kind == b"moof":
                head, frames = box, struct.unpack_from(">I", box, box.index(b"trun") + 8)[0]
            elif kind == b"mdat":
                self.chunks.append((frame, frames, head + box))
                frame += frames
            offset += size
        self.frames = frame
        profile = self.init[self.init.index(b"avcC") + 5 :][:3]
        self.media_type = f'video/mp4; codecs="avc1.{profile.hex().upper()}"'


def block_start(block):
    """The first frame of a block: the first block has 17 frames, the others have 16."""
    return 0 if block == 0 else 1 + 16 * block


class Problem(Exception):
    def __init__(self, status, code, message, param=None, retry_after=None):
        super().__init__(message)
        self.status, self.code, self.param, self.retry_after = status, code, param, retry_after


class Video:
    """Messages [(message, bytes)] that a thread appends while it "makes" the video."""

    def __init__(self, media, pace, prompts, seconds, parent_blocks=0):
        self.media, self.pace, self.prompts, self.parent_blocks = media, pace, prompts, parent_blocks
        self.id = secrets.token_hex(16)
        self.blocks = max(1, min(round(seconds), 64, (media.frames - 1) // 16))
        self.created, self.status, self.made, self.begun = int(time.time()), "queued", 0, parent_blocks
        self.log, self.changed = [], threading.Condition()
        self.viewers = {}
        threading.Thread(target=self._make, daemon=True).start()

    def _say(self, message, data=b""):
        with self.changed:
            self.log.append((message, data))
            self.changed.notify_all()

    def _progress(self, kind, block, step, steps):
        done = (block + step / steps) / self.blocks
        self._say({"event": "progress", "kind": kind, "block": block, "step": step, "steps": steps, "done": done})

    def _make(self):
        if self.parent_blocks == 0:
            self._say({"event": "waiting", "position": 1})
            time.sleep(0.2)
        self.status = "in_progress"
        for block in range(self.blocks):
            seconds = self.pace if block >= self.parent_blocks else 0
            with self.changed:
                self.begun = max(self.begun, block + 1)
            number = max(i for i, (_, begin) in enumerate(self.prompts) if begin <= block)
            if self.prompts[number][1] == block:
                self._progress("encode_prompt", block, 1, 1)
                start = block_start(block) / FPS
                tokens = {"given": 9, "used": 9}
                self._say({"event": "prompt_changed", "prompt": number, "block": block, "start": start, "tokens": tokens})
            for step in range(STEPS):
                time.sleep(0.7 * seconds / STEPS)
                self._progress("denoise", block, step + 1, STEPS)
            chunks = [c for c in self.media.chunks if block_start(block) <= c[0] < block_start(block + 1)]
            for index, (frame, frames, data) in enumerate(chunks):
                time.sleep(0.3 * seconds / len(chunks))
                if self.status != "in_progress":
                    return self._say({"event": "error", "code": "VIDEO_CANCELLED", "message": "the video was cancelled"})
                chunk = {"event": "chunk", "block": block, "index": index, "start": frame / FPS, "seconds": frames / FPS}
                chunk |= {"key_frame": index == 0, "prompt": number, "denoise_steps": STEPS, "decoder": "full"}
                last = index == len(chunks) - 1
                if last:
                    self.made = block + 1
                self._say(chunk | {"last_in_block": last}, data)
        self.status = "completed"
        frames = block_start(self.blocks)
        self._say({"event": "finished", "frames": frames, "chunks": self.blocks * 4 + 1, "seconds": frames / FPS})

    @property
    def ended(self):
        return self.status in ("completed", "failed", "cancelled")

    def info(self):
        frames = block_start(self.blocks)
        error = {"code": "VIDEO_CANCELLED", "message": "the video was cancelled"} if self.status == "cancelled" else None
        starts = [block_start(i) / FPS for i in range(self.blocks + 1)]
        return {
            "id": self.id,
            "object": "video",
            "status": self.status,
            "progress": 100 * self.made // self.blocks,
            "created_at": self.created,
            "model": "longtake-tiny",
            "prompt": self.prompts[0][0],
            "prompt_changes": [{"prompt": prompt, "block": block} for prompt, block in self.prompts[1:]],
            "seconds": f"{frames / FPS:.2f}",
            "size": "256x160",
            "seed": 7,
            "fps": FPS,
            "frames": frames,
            "blocks": [{"index": i, "start": starts[i], "seconds": starts[i + 1] - starts[i]} for i in range(self.blocks)],
            "made_blocks": self.made,
            "error": error,
        }

    def quote(self):
        first = 0.2 + 0.8 * self.pace
        return {"start_seconds": 0.2, "waiting": 0, "first_chunk_seconds": first, "last_chunk_seconds": self.pace * self.blocks}

    def change(self, prompt):
        with self.changed:
            if self.ended or self.begun >= self.blocks:
                raise Problem(409, "NO_BLOCK_LEFT", "no block of the video is left that a new prompt could begin with")
            self.prompts.append((prompt, self.begun))
            return {"prompt": len(self.prompts) - 1, "block": self.begun, "start": block_start(self.begun) / FPS}

    def watch(self, write, from_block):
        """Writes all messages from a block on, and waits for those to come."""
        accepted = {"event": "accepted", "video": self.info(), "media_type": self.media.media_type, "quote": self.quote()}
        write(accepted, b"")
        write({"event": "init_segment"}, self.media.init)
        position = 0
        while True:
            with self.changed:
                self.changed.wait_for(lambda at=position: len(self.log) > at)
                batch = self.log[position:]
            position += len(batch)
            for message, data in batch:
                if message["event"] == "progress" and message["block"] < self.made:
                    continue  # Only the newest are told.
                if message["event"] != "chunk" or message["block"] >= from_block:
                    write(message, data)
                if message["event"] in ("finished", "error"):
                    return

    def playlist(self):
        lines = [
            "#EXTM3U",
            "#EXT-X-VERSION:7",
            "#EXT-X-TARGETDURATION:2",
            "#EXT-X-PLAYLIST-TYPE:EVENT",
            "#EXT-X-MEDIA-SEQUENCE:0",
        ]
        lines += ["#EXT-X-START:TIME-OFFSET=0,PRECISE=YES", '#EXT-X-MAP:URI="init.mp4"']
        for block in range(self.made):
            lines += [f"#EXTINF:{(block_start(block + 1) - block_start(block)) / FPS:.4f},", f"block-{block}.m4s"]
        return "\n".join(lines + ["#EXT-X-ENDLIST"] * self.ended) + "\n"

    def segment(self, block):
        return b"".join(c[2] for c in self.media.chunks if block_start(block) <= c[0] < block_start(block + 1))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "Mock"

    def log_message(self, *_):
        pass

    def _answer(self, body, status=200, kind="application/json", headers=()):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in [("Content-Type", kind), ("Content-Length", len(body)), ("Cache-Control", "no-store"), *headers]:
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, video, events, from_block=0):
        self.send_response(200)
        self.send_header("Content-Type", "application/x-longtake-events" if events else "video/mp4")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

        def write(message, data):
            head = json.dumps(message | ({"bytes": len(data)} if data else {})).encode() + b"\n" if events else b""
            if part := head + data:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))

        video.watch(write, from_block)
        self.wfile.write(b"0\r\n\r\n")

    def _route(self):
        try:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or "{}")
            self._handle(body)
        except Problem as problem:
            error = {"message": str(problem), "type": "error", "code": problem.code, "param": problem.param}
            retry = [("Retry-After", problem.retry_after)] if problem.retry_after else []
            self._answer({"error": error}, problem.status, headers=retry)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_DELETE = _route

    def _handle(self, body):
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if self.command == "GET" and not url.path.startswith("/v1/"):
            file = PAGE / ("index.html" if url.path == "/" else url.path[1:])
            if file.parent != PAGE or not file.is_file():
                raise Problem(404, "NOT_FOUND", f"{url.path} is not here")
            return self._answer(file.read_bytes(), kind=TYPES[file.suffix], headers=[("Content-Security-Policy", CSP)])
        mock, path = self.server, url.path.removeprefix("/v1/")
        if path == "models":
            return self._answer({"object": "list", "data": [mock.model]})
        if path == "videos" and self.command == "GET":
            return self._answer({"object": "list", "data": [video.info() for video in mock.videos.values()]})
        if path in ("videos", "quote"):
            prompts = [(self._prompt(body), 0)]
            for change in body.get("prompt_changes", []):
                prompts.append((change["prompt"], round(change["at_seconds"])))
            if path == "quote":
                rough = mock.pace * float(body["seconds"])
                quote = {"first_chunk_seconds": mock.pace, "last_chunk_seconds": rough, "start_seconds": 0.2, "waiting": 0}
                return self._answer(quote)
            return self._answer(mock.add(prompts, float(body["seconds"])).info())
        parts = re.fullmatch(r"videos/([^/]+)(?:/(.+))?", path)
        video = mock.videos.get(parts[1]) if parts else None
        if video is None:
            raise Problem(404, "VIDEO_NOT_FOUND", f"there is no {path}: it never was, was deleted, or is no longer kept")
        self._handle_video(mock, video, parts[2] or "", query, body)

    def _handle_video(self, mock, video, action, query, body):
        if self.command == "DELETE":
            del mock.videos[video.id]
            self._answer({"id": video.id, "object": "video.deleted", "deleted": True})
        elif action == "":
            self._answer(video.info())
        elif action == "watch":
            self._stream(video, True, int(query.get("from_block", 0)))
        elif action in ("stream.mp4", "content"):
            self._stream(video, False)
        elif action == "cancel":
            video.status = "cancelled" if not video.ended else video.status
            self._answer(video.info())
        elif action == "prompt":
            self._answer(video.change(self._prompt(body)))
        elif action == "playback":
            video.viewers[body["viewer_id"]] = body
            self._answer({"report_after_seconds": 2})
        elif action == "link":
            raise Problem(409, "LINKS_UNAVAILABLE", "everybody may watch everything here")
        elif action == "fork":
            block = int(body["from_block"])
            prompts = [entry for entry in video.prompts if entry[1] < block] or [(self._prompt(body), 0)]
            prompts += [(self._prompt(body), block)] * (block > 0)
            self._answer(mock.add(prompts, video.blocks, parent_blocks=block).info())
        elif action == "index.m3u8":
            self._answer(video.playlist().encode(), kind="application/vnd.apple.mpegurl")
        elif action == "init.mp4":
            self._answer(video.media.init, kind="video/mp4")
        elif (match := re.fullmatch(r"block-(\d+)\.m4s", action)) and int(match[1]) < video.made:
            self._answer(video.segment(int(match[1])), kind="video/mp4")
        else:
            raise Problem(404, "NOT_FOUND", f"{self.path} is not here")

    @staticmethod
    def _prompt(body):
        if not body.get("prompt", "").strip():
            raise Problem(400, "INVALID_REQUEST", "prompt: is empty", "prompt")
        return body["prompt"]


class Mock(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port, pace, media):
        super().__init__(("127.0.0.1", port), Handler)
        self.pace, self.media, self.videos = pace, media, {}
        self.model = {"id": "longtake-tiny", "object": "model", "fps": FPS, "sizes": ["256x160"], "max_seconds": MAX_SECONDS}
        told = json.loads((ROOT / "models/longtake-tiny/longtake.json").read_text())
        self.model |= {"block_seconds": 1.0, "switches_prompt": True, "about": told["about"], "examples": told["examples"]}

    def handle_error(self, request, client_address):
        pass  # Browsers leave in the middle of answers.

    def add(self, prompts, seconds, parent_blocks=0):
        video = Video(self.media, self.pace, prompts, seconds, parent_blocks)
        self.videos[video.id] = video
        return video


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--pace", type=float, default=0.5, help="seconds that a block of one second takes to make")
    parser.add_argument("--media", help="a fragmented MP4 of the server; without it a test picture")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        media = Media(options.media or test_pictures(folder))
    mock = Mock(options.port, options.pace, media)
    print(f"port=0 metrics_port=0 http_port={mock.server_address[1]}", flush=True)
    mock.serve_forever()


if __name__ == "__main__":
    main()
