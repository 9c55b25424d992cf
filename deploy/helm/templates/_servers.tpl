{{- /* Each of these changes the objects of its context in place. `servers` comes first and leaves the servers' workload, pod and container
       in the context. */}}
{{- define "longtake.servers" }}
  {{- $workload := index .objects "StatefulSet/longtake" | default (index .objects "Deployment/longtake") }}
  {{- $pod := $workload.spec.template.spec }}
  {{- $server := first $pod.containers }}
  {{- if ne $server.name "server" }}{{ fail "the chart is broken: the first container is not the server" }}{{ end }}
  {{- $_ := set . "workload" $workload }}
  {{- $_ := set . "pod" $pod }}
  {{- $_ := set . "server" $server }}
  {{- $image := $server.image }}
  {{- range concat ($pod.initContainers | default list) $pod.containers }}
    {{- if eq .image $image }}
      {{- $_ := set . "image" (include "longtake.image" (dict "rendered" .image "image" $.Values.image)) }}
    {{- end }}
  {{- end }}
  {{- if .Values.replicas }}
    {{- if not (hasKey $workload.spec "replicas") }}
      {{- fail (printf "replicas: the overlay %s has an autoscaler: autoscaling.minReplicas, autoscaling.maxReplicas" .Values.overlay) }}
    {{- end }}
    {{- $_ := set $workload.spec "replicas" .Values.replicas }}
  {{- end }}
  {{- range $name, $quantity := .Values.resources }}
    {{- if $quantity }}
      {{- $_ := set $server.resources.requests $name (toString $quantity) }}
      {{- $_ := set $server.resources.limits $name (toString $quantity) }}
    {{- end }}
  {{- end }}
  {{- if .Values.nodeSelector }}{{ $_ := set $pod "nodeSelector" .Values.nodeSelector }}{{ end }}
{{- end }}

{{- /* Lines of server.toml: `options` and `model.folder`. The ConfigMap keeps the name that kustomize has made of the overlay's content, so
       the pods get a sum of the changed content as an annotation, and restart when it changes. */}}
{{- define "longtake.options" }}
  {{- $name := "" }}
  {{- range .pod.volumes }}{{ if eq .name "config" }}{{ $name = .configMap.name }}{{ end }}{{ end }}
  {{- if not (hasKey .objects (printf "ConfigMap/%s" $name)) }}{{ fail "the chart is broken: no ConfigMap with server.toml" }}{{ end }}
  {{- $data := (index .objects (printf "ConfigMap/%s" $name)).data }}
  {{- $rendered := index $data "server.toml" }}
  {{- $text := $rendered }}
  {{- $options := deepCopy .Values.options }}
  {{- range $owned := list "listen" "metrics-listen" "http-listen" "store" "model" "print-config" "check-config" }}
    {{- if hasKey $options $owned }}{{ fail (printf "options.%s: is not for the file; ports, volumes and probes follow it" $owned) }}{{ end }}
  {{- end }}
  {{- if .Values.model.folder }}{{ $_ := set $options "model" .Values.model.folder }}{{ end }}
  {{- range $option, $value := $options }}
    {{- range $.server.args }}
      {{- if hasPrefix (printf "--%s=" $option) . }}
        {{- fail (printf "options.%s: the overlay %s has it on the command line, which comes before the file" $option $.Values.overlay) }}
      {{- end }}
    {{- end }}
    {{- $text = regexReplaceAll (printf "(?m)^%s *=.*\n" $option) $text "" }}
    {{- $text = printf "%s%s = %s\n" $text $option (toRawJson $value) }}
  {{- end }}
  {{- if ne $text $rendered }}
    {{- $_ := set $data "server.toml" $text }}
    {{- $_ := set .workload.spec.template.metadata.annotations "checksum/config" (sha256sum $text) }}
  {{- end }}
  {{- if hasKey $options "shutdown-seconds" }}
    {{- $_ := set .pod "terminationGracePeriodSeconds" (add (index $options "shutdown-seconds") 5) }}
  {{- end }}
  {{- $_ := set . "toml" $text }}
{{- end }}

{{- /* The volume of the store: each server's own, or one for all. */}}
{{- define "longtake.storage" }}
  {{- $spec := dict }}
  {{- range .workload.spec.volumeClaimTemplates }}{{ if eq .metadata.name "store" }}{{ $spec = .spec }}{{ end }}{{ end }}
  {{- with index .objects "PersistentVolumeClaim/longtake-store" }}{{ $spec = .spec }}{{ end }}
  {{- if not $spec }}
    {{- include "longtake.refuse" (dict "name" "storage" "value" .Values.storage "overlay" .Values.overlay "why" "has its store in a bucket") }}
  {{- else }}
    {{- include "longtake.claim" (dict "spec" $spec "size" .Values.storage.size "storageClass" .Values.storage.storageClass) }}
    {{- $size := $spec.resources.requests.storage }}
    {{- $mib := mul (regexFind "^[0-9]+" $size | int64) (get (dict "Mi" 1 "Gi" 1024 "Ti" 1048576) (regexFind "..$" $size)) }}
    {{- $store := regexFind "(?m)^store-mib *= *[0-9]+" .toml | regexFind "[0-9]+$" | int64 }}
    {{- if ge $store $mib }}
      {{- fail (printf "storage.size: %s is not more than the store's %d MiB (options.store-mib)" $size $store) }}
    {{- end }}
  {{- end }}
{{- end }}

{{- /* KEDA's object, or Kubernetes' own. */}}
{{- define "longtake.autoscaling" }}
  {{- $values := .Values.autoscaling }}
  {{- $names := dict "min" "minReplicas" "max" "maxReplicas" }}
  {{- $scaler := index .objects "HorizontalPodAutoscaler/longtake" }}
  {{- with index .objects "ScaledObject/longtake" }}
    {{- $scaler = . }}
    {{- $names = dict "min" "minReplicaCount" "max" "maxReplicaCount" }}
    {{- $trigger := first .spec.triggers }}
    {{- if ne $trigger.type "prometheus" }}{{ fail "the chart is broken: KEDA does not ask Prometheus" }}{{ end }}
    {{- if $values.prometheus }}{{ $_ := set $trigger.metadata "serverAddress" $values.prometheus }}{{ end }}
  {{- else }}
    {{- include "longtake.refuse" (dict "name" "autoscaling.prometheus" "value" $values.prometheus "overlay" .Values.overlay "why" "has no KEDA") }}
  {{- end }}
  {{- if not $scaler }}
    {{- include "longtake.refuse" (dict "name" "autoscaling" "value" $values "overlay" .Values.overlay "why" "has no autoscaler") }}
  {{- else }}
    {{- if $values.minReplicas }}{{ $_ := set $scaler.spec $names.min $values.minReplicas }}{{ end }}
    {{- if $values.maxReplicas }}{{ $_ := set $scaler.spec $names.max $values.maxReplicas }}{{ end }}
    {{- if gt (get $scaler.spec $names.min | int) (get $scaler.spec $names.max | int) }}
      {{- fail (printf "autoscaling.minReplicas: is more than %v, the most" (get $scaler.spec $names.max)) }}
    {{- end }}
  {{- end }}
{{- end }}
