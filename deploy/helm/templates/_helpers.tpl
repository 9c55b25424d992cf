{{- /* Fills a context, the second of two arguments, with the objects of the overlay as kustomize has rendered them and as the values change
       them. They are changed as data and not as text, so nothing in them is taken for a template. */}}
{{- define "longtake.build" }}
  {{- $chart := first . }}
  {{- $context := last . }}
  {{- $objects := dict }}
  {{- range splitList "\n---\n" (include "longtake.overlay" $chart) }}
    {{- $object := fromYaml . }}
    {{- $_ := set $objects (printf "%s/%s" $object.kind $object.metadata.name) $object }}
  {{- end }}
  {{- $_ := set $context "objects" $objects }}
  {{- $_ := set $context "Values" $chart.Values }}
  {{- $_ := set $context "Release" $chart.Release }}
  {{- $_ := set $context "Files" $chart.Files }}
  {{- range list "servers" "options" "storage" "autoscaling" "model" "s3" "redis" "envoy" "monitoring" "pods" "release" }}
    {{- include (printf "longtake.%s" .) $context }}
  {{- end }}
{{- end }}

{{- /* The rendered overlay that `overlay` names. */}}
{{- define "longtake.overlay" }}
  {{- $text := .Files.Get (printf "overlays/%s.yaml" .Values.overlay) }}
  {{- if not $text }}
    {{- $names := list }}
    {{- range $path, $_ := .Files.Glob "overlays/*.yaml" }}{{ $names = append $names (base $path | trimSuffix ".yaml") }}{{ end }}
    {{- fail (printf "overlay: there is no %s; there are %s" .Values.overlay (sortAlpha $names | join ", ")) }}
  {{- end }}
  {{- $text }}
{{- end }}

{{- /* Refuses values that `overlay` has no use for: `name` and `value`, which may be a tree, and the reason `why`. */}}
{{- define "longtake.refuse" }}
  {{- if kindIs "map" .value }}
    {{- range $key, $value := .value }}
      {{- include "longtake.refuse" (dict "name" (printf "%s.%s" $.name $key) "value" $value "overlay" $.overlay "why" $.why) }}
    {{- end }}
  {{- else if .value }}
    {{- fail (printf "%s: the overlay %s %s" .name .overlay .why) }}
  {{- end }}
{{- end }}

{{- /* An image's name: `rendered`, with what `image` (repository, tag, digest) says instead. */}}
{{- define "longtake.image" }}
  {{- $repository := .image.repository | default (regexReplaceAll ":[^:/]+$" .rendered "") }}
  {{- if .image.digest }}
    {{- $repository }}@{{ .image.digest }}
  {{- else }}
    {{- $repository }}:{{ .image.tag | default (regexFind "[^:/]+$" .rendered) }}
  {{- end }}
{{- end }}

{{- /* Changes a claim's `spec` to `size` and `storageClass`. */}}
{{- define "longtake.claim" }}
  {{- if .size }}{{ $_ := set .spec.resources.requests "storage" .size }}{{ end }}
  {{- if .storageClass }}{{ $_ := set .spec "storageClassName" .storageClass }}{{ end }}
{{- end }}

{{- /* Has the volume `volume` of the pod `pod` take its Secret or ConfigMap, `kind`, from `name`. */}}
{{- define "longtake.source" }}
  {{- $found := false }}
  {{- range .pod.volumes }}
    {{- if eq .name $.volume }}
      {{- $found = true }}
      {{- if eq $.kind "secret" }}{{ $_ := set .secret "secretName" $.name }}{{ else }}{{ $_ := set .configMap "name" $.name }}{{ end }}
    {{- end }}
  {{- end }}
  {{- if not $found }}{{ fail (printf "the chart is broken: no volume %s" .volume) }}{{ end }}
{{- end }}

{{- /* Gives the environment variable `variable` of the container `container` the value `value`. */}}
{{- define "longtake.variable" }}
  {{- $found := false }}
  {{- range .container.env }}
    {{- if eq .name $.variable }}{{ $found = true }}{{ $_ := set . "value" $.value }}{{ end }}
  {{- end }}
  {{- if not $found }}{{ fail (printf "the chart is broken: no variable %s" .variable) }}{{ end }}
{{- end }}
