#!/bin/bash
# Ends an Envoy's work in order before SIGTERM ends Envoy at once, and all streams with it: Kubernetes' preStop hook. The image has
# no HTTP client, so this is bash.
#   drain.sh [SECONDS]    # at most so long, 300 without it
# /ready says no from the start, so balancers leave. New connections are taken for --drain-time-s more; those that are there end
# with the calls under way, and this when there are none, or after SECONDS.
set -u
limit=${1:-300}
admin=/dev/tcp/127.0.0.1/${ENVOY_ADMIN_PORT:-9901}

# ask METHOD PATH: the answer of Envoy's admin port.
ask() {
  exec 3<> "$admin" || exit 0  # Envoy is gone
  printf '%s %s HTTP/1.1\r\nHost: envoy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n' "$1" "$2" >&3
  cat <&3
  exec 3>&-
}

ask POST /healthcheck/fail > /dev/null
ask POST '/drain_listeners?graceful' > /dev/null
while ((SECONDS < limit)); do
  active=0
  while read -r name count; do
    [[ $name == http.*.downstream_rq_active: ]] && ((active += ${count%%[^0-9]*}))
  done < <(ask GET '/stats?filter=^http\.(front|json)\.downstream_rq_active$')
  ((active == 0)) && exit 0
  sleep 1
done
