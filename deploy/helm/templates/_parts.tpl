{{- /* As in _servers.tpl: each changes the objects of its context, and refuses values for what the overlay does not have. */}}

{{- /* The model on a volume. `options` has changed server.toml. */}}
{{- define "longtake.model" }}
  {{- $values := .Values.model }}
  {{- $claim := index .objects "PersistentVolumeClaim/longtake-models" }}
  {{- if not $claim }}
    {{- include "longtake.refuse" (dict "name" "model" "value" $values "overlay" .Values.overlay "why" "has the model of its image") }}
  {{- else }}
    {{- include "longtake.claim" (dict "spec" $claim.spec "size" $values.size "storageClass" $values.storageClass) }}
    {{- if $values.folder }}
      {{- $verify := first .pod.initContainers }}
      {{- if ne $verify.name "verify-model" }}{{ fail "the chart is broken: nothing verifies the model" }}{{ end }}
      {{- $_ := set $verify "args" (prepend (rest $verify.args) $values.folder) }}
    {{- end }}
    {{- if $values.sums }}
      {{- include "longtake.source" (dict "pod" .pod "volume" "model-sums" "kind" "configMap" "name" $values.sums) }}
    {{- end }}
  {{- end }}
{{- end }}

{{- /* The store in a bucket. */}}
{{- define "longtake.s3" }}
  {{- $values := .Values.s3 }}
  {{- $policy := index .objects "NetworkPolicy/longtake-to-s3" }}
  {{- if not $policy }}
    {{- include "longtake.refuse" (dict "name" "s3" "value" $values "overlay" .Values.overlay "why" "has its store on a volume") }}
  {{- else }}
    {{- if $values.store }}{{ include "longtake.variable" (dict "container" .server "variable" "STORE" "value" $values.store) }}{{ end }}
    {{- if $values.region }}{{ include "longtake.variable" (dict "container" .server "variable" "REGION" "value" $values.region) }}{{ end }}
    {{- if $values.secret }}
      {{- include "longtake.source" (dict "pod" .pod "volume" "bucket" "kind" "secret" "name" $values.secret) }}
    {{- end }}
    {{- if $values.endpoint }}
      {{- $_ := set .server "args" (append .server.args (printf "--store-endpoint=%s" $values.endpoint)) }}
      {{- $port := regexFind ":[0-9]+$" $values.endpoint | trimPrefix ":" | default (ternary "443" "80" (hasPrefix "https:" $values.endpoint)) }}
      {{- $_ := set (first (first $policy.spec.egress).ports) "port" (int $port) }}
    {{- end }}
  {{- end }}
{{- end }}

{{- define "longtake.redis" }}
  {{- $values := .Values.redis }}
  {{- $redis := index .objects "StatefulSet/longtake-redis" }}
  {{- if not $redis }}
    {{- include "longtake.refuse" (dict "name" "redis" "value" $values "overlay" .Values.overlay "why" "has no Redis") }}
  {{- else }}
    {{- $pod := $redis.spec.template.spec }}
    {{- $container := first $pod.containers }}
    {{- $_ := set $container "image" (include "longtake.image" (dict "rendered" $container.image "image" $values.image)) }}
    {{- if $values.secret }}
      {{- include "longtake.source" (dict "pod" $pod "volume" "password" "kind" "secret" "name" $values.secret) }}
      {{- include "longtake.source" (dict "pod" .pod "volume" "registry" "kind" "secret" "name" $values.secret) }}
    {{- end }}
    {{- $claim := first $redis.spec.volumeClaimTemplates }}
    {{- include "longtake.claim" (dict "spec" $claim.spec "size" $values.size "storageClass" $values.storageClass) }}
  {{- end }}
{{- end }}

{{- define "longtake.envoy" }}
  {{- $values := .Values.envoy }}
  {{- $envoy := index .objects "Deployment/longtake-envoy" }}
  {{- if not $envoy }}
    {{- include "longtake.refuse" (dict "name" "envoy" "value" $values "overlay" .Values.overlay "why" "has no Envoy") }}
  {{- else }}
    {{- $pod := $envoy.spec.template.spec }}
    {{- $container := first $pod.containers }}
    {{- $_ := set $container "image" (include "longtake.image" (dict "rendered" $container.image "image" $values.image)) }}
    {{- if $values.replicas }}{{ $_ := set $envoy.spec "replicas" $values.replicas }}{{ end }}
    {{- if $values.secret }}{{ include "longtake.source" (dict "pod" $pod "volume" "tls" "kind" "secret" "name" $values.secret) }}{{ end }}
    {{- if $values.api }}{{ include "longtake.source" (dict "pod" $pod "volume" "api" "kind" "configMap" "name" $values.api) }}{{ end }}
    {{- /* Without a shared store Envoy has a list of the servers by name. */}}
    {{- if eq .workload.kind "StatefulSet" }}
      {{- $name := "" }}
      {{- range $pod.volumes }}{{ if eq .name "config" }}{{ $name = .configMap.name }}{{ end }}{{ end }}
      {{- $clusters := index (index .objects (printf "ConfigMap/%s" $name)).data "clusters.yaml" }}
      {{- $known := regexFindAll "address: longtake-[0-9]+\\.longtake-pods" $clusters -1 | uniq | len }}
      {{- if gt (int .workload.spec.replicas) $known }}
        {{- fail (printf "replicas: Envoy's clusters.yaml names %d servers" $known) }}
      {{- end }}
    {{- end }}
  {{- end }}
{{- end }}

{{- define "longtake.monitoring" }}
  {{- $values := .Values.monitoring }}
  {{- if $values.rules }}
    {{- $metadata := dict "name" "longtake" "labels" (deepCopy .workload.metadata.labels) }}
    {{- $rule := dict "apiVersion" "monitoring.coreos.com/v1" "kind" "PrometheusRule" "metadata" $metadata }}
    {{- $_ := set $rule "spec" (.Files.Get "rules.yml" | fromYaml) }}
    {{- $_ := set .objects "PrometheusRule/longtake" $rule }}
  {{- end }}
  {{- $chosen := false }}
  {{- range $key := list "ServiceMonitor/longtake" "PrometheusRule/longtake" }}
    {{- with index $.objects $key }}
      {{- $chosen = true }}
      {{- if $values.labels }}{{ $_ := set .metadata "labels" (mergeOverwrite (.metadata.labels | default dict) $values.labels) }}{{ end }}
    {{- end }}
  {{- end }}
  {{- if not $chosen }}
    {{- $why := "has no ServiceMonitor, and monitoring.rules is not set" }}
    {{- include "longtake.refuse" (dict "name" "monitoring.labels" "value" $values.labels "overlay" .Values.overlay "why" $why) }}
  {{- end }}
  {{- if $values.namespace }}
    {{- $found := false }}
    {{- range $object := .objects }}
      {{- if eq $object.kind "NetworkPolicy" }}
        {{- range $object.spec.ingress }}{{ range .from }}{{ with .namespaceSelector }}
          {{- if eq (get .matchLabels "kubernetes.io/metadata.name") "monitoring" }}
            {{- $found = true }}
            {{- $_ := set .matchLabels "kubernetes.io/metadata.name" $values.namespace }}
          {{- end }}
        {{- end }}{{ end }}{{ end }}
      {{- end }}
    {{- end }}
    {{- if not $found }}{{ fail "the chart is broken: no network policy lets the namespace monitoring in" }}{{ end }}
  {{- end }}
{{- end }}

{{- /* What all pods have. */}}
{{- define "longtake.pods" }}
  {{- if .Values.imagePullSecrets }}
    {{- range .objects }}
      {{- if has .kind (list "StatefulSet" "Deployment") }}
        {{- $_ := set .spec.template.spec "imagePullSecrets" $.Values.imagePullSecrets }}
      {{- end }}
    {{- end }}
  {{- end }}
{{- end }}

{{- /* The release's namespace, and volumes that outlive the release: Helm deletes what a release no longer has, kubectl apply does not. */}}
{{- define "longtake.release" }}
  {{- $namespace := .Release.Namespace }}
  {{- with index .objects "ScaledObject/longtake" }}
    {{- $metadata := (first .spec.triggers).metadata }}
    {{- $old := printf "namespace=%q" .metadata.namespace }}
    {{- if not (contains $old $metadata.query) }}{{ fail "the chart is broken: KEDA's query names no namespace" }}{{ end }}
    {{- $_ := set $metadata "query" (replace $old (printf "namespace=%q" $namespace) $metadata.query) }}
  {{- end }}
  {{- range .objects }}
    {{- $_ := set .metadata "namespace" $namespace }}
    {{- if eq .kind "PersistentVolumeClaim" }}
      {{- $_ := set .metadata "annotations" (merge (dict "helm.sh/resource-policy" "keep") (.metadata.annotations | default dict)) }}
    {{- end }}
  {{- end }}
{{- end }}
