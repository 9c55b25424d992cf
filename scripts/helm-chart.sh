#!/usr/bin/env bash
# Packs the Helm chart: what stands in deploy/helm, and the overlays of deploy/kubernetes as kustomize renders them.
#   ./scripts/helm-chart.sh [FOLDER]      # writes FOLDER/longtake-VERSION.tgz (out/helm) and prints its name
# The same sources give the same bytes. Needs kubectl or kustomize, and no Helm.
source "$(dirname "$0")/common.sh"

folder=${1:-out/helm}
if command -v kustomize > /dev/null; then
  render=(kustomize build)
else
  PATH=$PATH:$PWD/.venv-deploy/bin # where deploy-test.sh puts kubectl if there is none
  command -v kubectl > /dev/null || die "neither kubectl nor kustomize is installed"
  render=(kubectl kustomize)
fi
version=$(sed -n 's/^project(longtake VERSION \([0-9.]*\) .*/\1/p' CMakeLists.txt)
[[ -n $version ]] || die "CMakeLists.txt has no version"

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
chart=$stage/longtake
mkdir "$chart" "$chart/overlays"
cp -r deploy/helm/. "$chart"
printf 'version: %s\nappVersion: "%s"\n' "$version" "$version" >> "$chart/Chart.yaml"
cp deploy/prometheus/rules.yml LICENSE "$chart"
for overlay in deploy/kubernetes/overlays/*/; do
  "${render[@]}" "$overlay" > "$chart/overlays/$(basename "$overlay").yaml"
done

# No times, owners, modes or order of this machine.
chmod -R u=rwX,go=rX "$stage"
mkdir -p "$folder"
archive=$folder/longtake-$version.tgz
tar --create --directory "$stage" --format=ustar --sort=name --mtime='2000-01-01 UTC' --owner=0 --group=0 --numeric-owner longtake \
  | gzip --no-name --best > "$archive"
echo "$archive"
