"""Keyword arguments as requests, errors as exceptions, addresses and tokens."""

import math
import pickle

import grpc
import longtake
import pytest
from fake_server import NAME, Fail
from longtake import _requests
from longtake._endpoint import is_loopback


def test_every_option_arrives():
    request = _requests.create(
        "a meadow",
        2.5,
        {
            "negative_prompt": "rain",
            "seed": 7,
            "size": (256, 160),
            "model": "models/m",
            "first_image": b"png",
            "adapters": {"a": 0.5},
            "decoder": "tiny",
            "prompt_changes": {20: "snow", 10.5: "night"},
            "offline": True,
            "adaptive": True,
            "priority": -3,
            "max_wait_seconds": 4,
            "max_lead_seconds": 5,
            "on_disconnect": "pause",
            "reconnect_seconds": 6,
            "request_id": "r",
        },
    )
    assert (
        str(request)
        == """spec {
  prompt: "a meadow"
  negative_prompt: "rain"
  seed: 7
  size {
    width: 256
    height: 160
  }
  duration {
    seconds: 2
    nanos: 500000000
  }
  first_image: "png"
  model: "models/m"
  prompt_changes {
    prompt: "night"
    at_offset {
      seconds: 10
      nanos: 500000000
    }
  }
  prompt_changes {
    prompt: "snow"
    at_offset {
      seconds: 20
    }
  }
  adapters {
    name: "a"
    strength: 0.5
  }
  decoder: DECODER_TINY
}
delivery_options {
  delivery: DELIVERY_OFFLINE
  max_wait_duration {
    seconds: 4
  }
  max_lead_duration {
    seconds: 5
  }
  fidelity: FIDELITY_ADAPTIVE
  priority: -3
  disconnect_policy: DISCONNECT_POLICY_PAUSE
  reconnect_timeout {
    seconds: 6
  }
}
request_id: "r"
"""
    )


def test_what_is_left_out_is_left_to_the_server():
    request = _requests.create("a meadow", 5, {})
    assert {field.name for field, _ in request.spec.ListFields()} == {"prompt", "duration"}
    assert not request.delivery_options.ListFields()
    # Each call has an id of its own, so that gRPC may repeat it.
    assert len(request.request_id) == 32
    assert request.request_id != _requests.create("a meadow", 5, {}).request_id


@pytest.mark.parametrize(
    ("options", "waits"),
    [
        ({}, 30),
        ({"on_disconnect": "cancel"}, 30),
        ({"reconnect_seconds": 2}, 2),
        ({"on_disconnect": "continue"}, 0),
        ({"on_disconnect": "pause"}, 0),
    ],
)
def test_a_generated_video_waits_for_its_viewer(options, waits):
    request = _requests.generate("a meadow", 5, "", False, 30, options)
    assert request.delivery_options.reconnect_timeout.seconds == waits


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"sed": 1}, "sed: there is no such option"),
        ({"seed": "x"}, "seed: 'str'"),
        ({"seed": 2**80}, "seed: Value out of range"),
        ({"first_image": "a.png"}, "first_image: "),
        ({"size": 256}, "size: 256 is no"),
        ({"on_disconnect": "stop"}, "on_disconnect: 'stop' is none of"),
        ({"max_wait_seconds": math.inf}, "max_wait_seconds: inf is no length of time"),
        ({"prompt_changes": {math.nan: "night"}}, "prompt_changes: nan is no length of time"),
    ],
)
def test_a_wrong_option_is_named(options, error):
    with pytest.raises((TypeError, ValueError), match=f"^{error}"):
        _requests.create("a meadow", 5, options)


def test_a_watch_has_one_beginning(fake):
    with longtake.Client(fake.address) as client, pytest.raises(ValueError, match="at most one"):
        client.watch(NAME, from_block=0, live=True)


def test_errors_have_the_servers_reason(fake):
    fake.failures = [
        Fail(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL", {"queue_length": "16"}, retry_after=2.5),
        Fail(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST", fields={"spec.seed": "is below 0"}),
        Fail(grpc.StatusCode.PERMISSION_DENIED),
    ]
    raised = []
    with longtake.Client(fake.address) as client:
        for _ in range(3):
            with pytest.raises(longtake.Error) as info:
                client.create("a meadow")
            raised.append(info.value)
    full, wrong, foreign = raised
    assert (full.reason, full.metadata, full.retry_after) == ("QUEUE_FULL", {"queue_length": "16"}, 2.5)
    assert str(full) == "QUEUE_FULL: as the test says; try again in 2.5 s"
    assert (wrong.reason, wrong.fields, wrong.retry_after) == ("INVALID_REQUEST", {"spec.seed": "is below 0"}, None)
    assert (foreign.reason, foreign.code) == ("", grpc.StatusCode.PERMISSION_DENIED)
    again = pickle.loads(pickle.dumps(full))
    assert vars(again) == vars(full)


@pytest.mark.parametrize(("pushback", "expected"), [("1500", 1.5), ("-1", math.inf), ("soon", math.inf)])
def test_pushback_counts_without_retry_info(fake, pushback, expected):
    fake.failures = [Fail(grpc.StatusCode.RESOURCE_EXHAUSTED, pushback=pushback)]
    with longtake.Client(fake.address) as client, pytest.raises(longtake.Error) as raised:
        client.get(NAME)
    assert raised.value.retry_after == expected


def test_one_answer_calls_are_repeated_with_one_request_id(fake):
    fake.failures = [Fail(grpc.StatusCode.UNAVAILABLE, "MODEL_LOADING", pushback="1")] * 2
    with longtake.Client(fake.address) as client:
        assert client.create("a meadow").name == NAME
    assert len(fake.requests) == 3
    assert len({request.request_id for request in fake.requests}) == 1


def test_a_delete_is_not_repeated(fake):
    """Its answer may have been lost, and a second one would find no video."""
    fake.failures = [Fail(grpc.StatusCode.UNAVAILABLE)]
    with longtake.Client(fake.address) as client, pytest.raises(longtake.Error):
        client.delete(NAME)
    assert len(fake.requests) == 1


def test_no_server_is_an_error():
    with longtake.Client("127.0.0.1:1") as client:
        for call in (lambda: client.get(NAME), lambda: next(client.generate("a meadow"))):
            with pytest.raises(longtake.Error) as raised:
                call()
            assert raised.value.code == grpc.StatusCode.UNAVAILABLE


def test_lists_have_all_pages(fake):
    with longtake.Client(fake.address) as client:
        assert [video.name for video in client.list()] == [f"videos/{page}{i}" for page in range(3) for i in range(2)]


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1:50051", True),
        ("127.9.9.9", True),
        ("localhost:1", True),
        ("[::1]:50051", True),
        ("unix:/run/longtake", True),
        ("127.example.com:50051", False),
        ("localhost.example.com", False),
        ("[::1].example.com:1", False),
        ("dns://127.0.0.1/example.com:1", False),
        ("10.0.0.1:50051", False),
    ],
)
def test_addresses_of_this_machine(address, loopback):
    assert is_loopback(address) == loopback


def test_a_token_goes_with_every_call_and_may_change(fake):
    tokens = iter(["first", "second", "third"])
    with longtake.Client(fake.address, token=lambda: next(tokens)) as client:
        client.get(NAME)
        fake.failures = [(3, Fail(grpc.StatusCode.UNAVAILABLE))]
        list(client.watch(NAME))
    assert [metadata["authorization"] for metadata in fake.metadata] == ["Bearer first", "Bearer second", "Bearer third"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"token": "secret"}, "token: is not sent to video.example:1 in plain text"),
        ({"token": "two words", "tls": True}, "token: is empty, or has blanks"),
        ({"token": "", "tls": True}, "token: is empty"),
        ({"cert": "a.pem"}, "cert, key: one is missing"),
        ({"cert": "a.pem", "key": "a.key"}, "cert: needs ca or tls"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, error):
    with pytest.raises(ValueError, match=f"^{error}"):
        longtake.Client("video.example:1", **arguments)


def test_a_missing_file_is_an_error_at_once(tmp_path):
    with pytest.raises(FileNotFoundError, match="nix"):
        longtake.Client("video.example:1", ca=tmp_path / "nix.pem")
