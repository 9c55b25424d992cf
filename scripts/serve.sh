# shellcheck shell=bash
# Sourced by scripts that need a running server. start_server MODEL LOG [OPTIONS] starts one on a free port of 127.0.0.1,
# waits until it is ready and sets `address`; it ends with the script or by stop_server.
start_server() {
  local model=$1 log=$2 port
  shift 2
  # A port that nothing listens on; two scripts at once do not meet.
  port=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  address=127.0.0.1:$port
  "$BUILD/longtake-server" --model "$model" --listen "$address" --shutdown-grace-seconds 0 "$@" > "$log" 2>&1 &
  server=$!
  trap stop_server EXIT
  for ((waited = 0; ; ++waited)); do
    kill -0 "$server" 2> /dev/null || { tail -n 20 "$log" >&2; die "the server ended while it started"; }
    # `longtake models` answers once the model is loaded and warm.
    if "$BUILD/longtake" models --server "$address" --wait 1 > /dev/null 2>&1; then break; fi
    ((waited < 600)) || { tail -n 20 "$log" >&2; die "the server was not ready after 300 s"; }
    sleep 0.5
  done
}

stop_server() {
  if [[ -n ${server:-} ]] && kill -0 "$server" 2> /dev/null; then
    kill -TERM "$server"
    wait "$server" || true
    server=
  fi
}
