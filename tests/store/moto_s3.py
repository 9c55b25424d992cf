"""An S3 of a test's own: `python tests/store/moto_s3.py BUCKET...` serves moto's on a free port of 127.0.0.1 and prints the port.

It ends with its standard input, and so with whoever started it. Requests are carried out one at a time: moto looks whether a
condition holds and writes afterwards, and another request could come between; S3 does both at once.
"""

import sys
import threading

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


class Silent(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        pass


def main() -> None:
    moto = DomainDispatcherApplication(create_backend_app)
    lock = threading.Lock()

    def one_at_a_time(environ, start_response):
        with lock:
            return list(moto(environ, start_response))

    server = make_server("127.0.0.1", 0, one_at_a_time, threaded=True, request_handler=Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{server.port}", **keys)
    for bucket in sys.argv[1:]:
        client.create_bucket(Bucket=bucket)
    print(server.port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
