#!/usr/bin/env bash
# Prints deploy/prometheus/rules.yml as a PrometheusRule of the Prometheus operator:
#   ./scripts/prometheus-rule.sh [NAMESPACE] | kubectl apply -f -
source "$(dirname "$0")/common.sh"

cat << EOF
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: longtake
  namespace: ${1:-longtake}
  labels: {app.kubernetes.io/name: longtake}
spec:
EOF
sed 's/^\(.\)/  \1/' deploy/prometheus/rules.yml
