"""Runs the program of a file as it stands, but for its addresses: `run_app.py FILE SERVER`. Prints the URL that it serves."""

import runpy
import socket
import sys

from aiohttp import web
from at_address import clients_at

run = web.run_app


def run_on_a_free_port(app, host, port):
    listener = socket.create_server((host, 0))
    print(f"http://{host}:{listener.getsockname()[1]}", flush=True)
    run(app, sock=listener, print=None)


web.run_app = run_on_a_free_port
with clients_at({"127.0.0.1:50051": sys.argv[2]}):
    runpy.run_path(sys.argv[1], run_name="__main__")
