"""Lost connections to the real server."""

import longtake
from relay import Relay
from support import LONGEST


def kept(events):
    """Without those of which a viewer gets the newest only."""
    return [event for event in events if event.WhichOneof("event") not in ("progress", "waiting")]


def test_a_video_whose_connection_breaks_again_and_again_has_all_of_its_bytes(real):
    """About 96 KB, of which each connection carries 40: in the middle of a message it ends."""
    with Relay(real, cut_after=40_000) as relay, longtake.Client(relay.address, reconnect_seconds=LONGEST) as client:
        stream = client.generate("a red ball bounces", seconds=2)
        received = kept(stream)
        assert relay.connections > 2
    with longtake.Client(real) as client:
        assert received == kept(client.watch(stream.video.name))
