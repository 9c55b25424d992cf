"""Steps of a cycle: what clients do over HTTP."""

import json
import time

from tests.soak.subject import FORBIDDEN
from tests.soak.visit import SHORT, Visit, expect


def _create(visit: Visit, prompt: str, seed: int, **fields: object) -> str:
    """The path of a new video."""
    body = {"prompt": visit.prompt(prompt), "seed": seed, "seconds": SHORT, "request_id": visit.new_id()} | fields
    return f"/v1/videos/{visit.ask_json('/v1/videos', body)['id']}"


def watch(visit: Visit) -> None:
    video, viewer = _create(visit, "a red ball bounces", 10), visit.new_id()
    kinds = []
    with visit.open(f"{video}/watch?viewer_id={viewer}") as answer:
        while line := answer.readline():
            event = json.loads(line)
            answer.read(event.get("bytes", 0))
            kinds.append(event["event"])
            if kinds[-1] == "chunk" and kinds.count("chunk") == 1:
                with visit.open(f"{video}/playback", {"viewer_id": viewer, "position": 0.1, "paused": False}) as report:
                    expect(report.status in (200, 404), report.read())  # 404: all has been sent
    expect(kinds[-1] == "finished", f"a watch ends with {kinds[-1]}")
    expect(visit.ask(f"{video}/content") == visit.ask(f"{video}/stream.mp4"), "two files of one video differ")
    visit.ask(video)


def play_hls(visit: Visit) -> None:
    """As a player of low latency does, and then as one that comes when all is there."""
    video = _create(visit, "a blue boat sails left", 11)
    for question in ("_HLS_msn=0&_HLS_part=0", "_HLS_msn=0"):
        with visit.open(f"{video}/index.m3u8?{question}") as answer:
            text = answer.read().decode()
            expect(answer.status in (200, 503), f"{answer.status} {text}")  # 503: it has waited for as long as it may
        for part in [line.split('URI="')[1].split('"')[0] for line in text.splitlines() if line.startswith("#EXT-X-PART:")]:
            visit.ask(f"{video}/{part}")
    visit.ask(f"{video}/stream.mp4")
    text = visit.ask(f"{video}/index.m3u8").decode()
    expect("#EXT-X-ENDLIST" in text, "the list of a made video has no end")
    visit.ask(f"{video}/init.mp4")
    segments = [line for line in text.splitlines() if line and not line.startswith("#")]
    for segment in segments:
        visit.ask(f"{video}/{segment}")
        visit.ask(f"{video}/{segment}", status=206, headers={"Range": "bytes=100-299"})
        visit.ask(f"{video}/{segment}", status=206, headers={"Range": "bytes=-50"})
        visit.ask(f"{video}/{segment}", status=416, headers={"Range": "bytes=99999999-"})
        with visit.open(f"{video}/{segment}", method="HEAD") as answer:
            etag = answer.headers["ETag"]
        visit.ask(f"{video}/{segment}", status=304, headers={"If-None-Match": etag})


def direct(visit: Visit) -> None:
    video = _create(visit, "a green star", 12)
    with visit.open(f"{video}/prompt", {"prompt": visit.prompt("a yellow sun rises")}) as answer:
        expect(answer.status in (200, 400, 409), answer.read())  # the last two: no block is left
    visit.ask(f"{video}/cancel", {})
    visit.ask(video, method="DELETE")
    visit.ask(video, status=404)


def share(visit: Visit) -> None:
    """Links that hold, that have expired, and that are none."""
    video = _create(visit, "a white cloud", 13)
    visit.ask(f"{video}/stream.mp4")
    link = visit.ask_json(f"{video}/link", {"seconds": 3600})["link"]
    for file in ("index.m3u8", "init.mp4", "block-0.m4s", "stream.mp4", "watch"):
        visit.ask(f"{video}/{file}?link={link}", tenant=None)
    visit.ask(f"{video}?link={link}", tenant=None)
    visit.ask(f"{video}/stream.mp4?link={link[:-2]}AA", tenant=None, status=401)
    short = visit.ask_json(f"{video}/link", {"seconds": 1})["link"]
    status = 200
    while status == 200:
        with visit.open(f"{video}/init.mp4?link={short}", tenant=None) as answer:
            answer.read()
            status = answer.status
        time.sleep(0.1)
    expect(status == 403, f"a link that has expired: {status}")


def look_around(visit: Visit) -> None:
    for path in ("/", "/healthz", "/readyz", "/v1/models", "/v1/videos?limit=2"):
        visit.ask(path)
    after = visit.ask_json("/v1/videos?limit=2")["next"]
    visit.ask(f"/v1/videos?limit=2&after={after}")
    for _ in range(20):
        visit.ask("/v1/quote", {"seconds": 2})
    metrics = visit.subject.server.metrics_port
    for _ in range(20):
        visit.ask("/metrics", port=metrics)
    for path in ("/livez", "/startupz", "/readyz"):
        visit.ask(path, port=metrics, tenant=None)
    visit.ask("/status", port=metrics, tenant="operator")


def be_refused(visit: Visit) -> None:
    for body in (
        {},
        {"prompt": " "},
        {"prompt": "a", "seconds": -1},
        {"prompt": "a", visit.new_id(): 1},
        b"{",
        visit.rng.randbytes(99),
    ):
        visit.ask("/v1/videos", body, status=400)
    visit.ask("/v1/videos", {"prompt": f"{visit.new_id()} {FORBIDDEN}"}, status=403)
    visit.ask("/v1/videos", {"prompt": "a ball"}, status=401, tenant=None)
    visit.ask("/v1/videos", status=401, tenant=None, headers={"Authorization": f"Bearer {visit.new_id()}"})
    visit.ask("/v1/videos", {"prompt": "a ball"}, status=429, tenant="limited")
    visit.ask(f"/v1/videos/{visit.new_id()}", status=404)
    visit.ask(f"/v1/{visit.new_id()}", status=404)
    visit.ask(f"/{visit.new_id()}", status=404)
    visit.ask("/v1/quote", status=405)
    visit.ask(f"/v1/videos?after={visit.new_id()}", status=400)
    visit.ask("/metrics", status=401, port=visit.subject.server.metrics_port, tenant=None)
    visit.ask("/status", status=403, port=visit.subject.server.metrics_port)


STEPS = (watch, play_hls, direct, share, look_around, be_refused)
