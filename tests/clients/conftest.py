"""The installed Python client, and servers for it: one in Python that does as a test says, and the real one."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support import ROOT, blocks


def pytest_configure(config):
    """Installs the client as the document says, but into a folder of its own, and with what .venv-test has: no network."""
    folder = tempfile.TemporaryDirectory(prefix="longtake-client-")
    config.add_cleanup(folder.cleanup)
    python = Path(sys.executable)
    settings = {"TARGET": folder.name, "NO_INDEX": "1", "NO_DEPS": "1", "NO_BUILD_ISOLATION": "0", "QUIET": "1", "UPGRADE": "1"}
    environment = {f"PIP_{name}": value for name, value in settings.items()}
    environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PATH": f"{python.parent}:{os.environ['PATH']}"}
    for block in blocks("sh"):
        subprocess.run(["bash", "-e"], input=block, text=True, cwd=ROOT, env=os.environ | environment, check=True)
    sys.path.insert(0, folder.name)


@pytest.fixture
def fake():
    from fake_server import FakeServer

    with FakeServer() as server:
        yield server


@pytest.fixture(scope="session")
def real(tmp_path_factory):
    """The address of a longtake-server with the bundled model. No video is made more than 2 s ahead of its viewer."""
    import longtake

    log = tmp_path_factory.mktemp("server") / "log"
    command = [ROOT / "build/release/longtake-server", "--model", ROOT / "models/longtake-tiny", "--listen", "127.0.0.1:0"]
    command += ["--max-lead-seconds", "2", "--max-wait-seconds", "3600", "--shutdown-grace-seconds", "0"]
    command += ["--shutdown-seconds", "3"]
    with log.open("w") as stderr, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as server:
        try:
            line = server.stdout.readline()
            assert line.startswith("port="), log.read_text()[-2000:]
            address = f"127.0.0.1:{line.split()[0].removeprefix('port=')}"
            with longtake.Client(address) as client:
                while True:
                    try:
                        next(client.models())
                        break
                    except longtake.Error as error:  # until the model is loaded
                        assert error.reason == "MODEL_LOADING", log.read_text()[-2000:]
            yield address
        finally:
            server.terminate()
