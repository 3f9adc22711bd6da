{{/* Name of the chart's objects. */}}
{{- define "qwen3.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Name of cluster-scoped objects: two releases must not share them. */}}
{{- define "qwen3.clusterName" -}}
{{- printf "%s.%s" .Release.Namespace (include "qwen3.fullname" .) -}}
{{- end -}}

{{- define "qwen3.selectorLabels" -}}
app.kubernetes.io/name: qwen3-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "qwen3.labels" -}}
{{ include "qwen3.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end -}}

{{- define "qwen3.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "qwen3.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The operator as RBAC and admission see it. */}}
{{- define "qwen3.username" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "qwen3.serviceAccountName" .) -}}
{{- end -}}

{{/* An image reference. Arguments: list <root> <image>. The digest wins over the tag. */}}
{{- define "qwen3.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $name := $image.repository -}}
{{- if $root.Values.imageRegistry -}}
{{- $name = printf "%s/%s" (trimSuffix "/" $root.Values.imageRegistry) $name -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default $root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Namespaces to work in, as JSON; an empty list means all. */}}
{{- define "qwen3.namespaces" -}}
{{- if .Values.clusterWide -}}
[]
{{- else if .Values.watchNamespaces -}}
{{- .Values.watchNamespaces | uniq | toJson -}}
{{- else -}}
{{- fail "watchNamespaces is empty: name the namespaces to work in, or set clusterWide=true for all" -}}
{{- end -}}
{{- end -}}

{{/* All stores with their names, as JSON: the default one first. */}}
{{- define "qwen3.stores" -}}
{{- $stores := list (merge (dict "name" "default") .Values.storage.default) -}}
{{- range .Values.storage.additional -}}
{{- $stores = append $stores . -}}
{{- end -}}
{{- $names := list -}}
{{- range $stores -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- if ne (len $names) (len (uniq $names)) -}}
{{- fail (printf "storage: names of stores must differ (the default one is called default): %s" (join ", " $names)) -}}
{{- end -}}
{{- $stores | toJson -}}
{{- end -}}

{{/* Ports of the stores' endpoints, as JSON. */}}
{{- define "qwen3.storePorts" -}}
{{- $ports := list -}}
{{- range include "qwen3.stores" . | fromJsonArray -}}
{{- if .endpoint -}}
{{- $url := urlParse .endpoint -}}
{{- $explicit := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) -}}
{{- $ports = append $ports (int (default (ternary "80" "443" (eq $url.scheme "http")) $explicit)) -}}
{{- else -}}
{{- $ports = append $ports 443 -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* One store of the settings file. */}}
{{- define "qwen3.store" -}}
{{- $store := dict -}}
{{- with .endpoint }}{{ $_ := set $store "endpoint" . }}{{ end -}}
{{- with .region }}{{ $_ := set $store "region" . }}{{ end -}}
{{- with .bucket }}{{ $_ := set $store "bucket" . }}{{ end -}}
{{- if .credentialsSecret }}{{ $_ := set $store "credentialsDir" (printf "/var/run/qwen3/stores/%s" .name) }}{{ end -}}
{{- $store | toJson -}}
{{- end -}}

{{/* The settings file (operator/src/qwen3_operator/settings.py). */}}
{{- define "qwen3.settings" -}}
{{- $stores := include "qwen3.stores" . | fromJsonArray -}}
watchNamespaces: {{ include "qwen3.namespaces" . }}
operatorNamespace: {{ .Release.Namespace }}
leaseName: {{ include "qwen3.fullname" . }}
clusterDomain: {{ .Values.clusterDomain }}
workers: {{ .Values.workers }}
resyncSeconds: {{ .Values.resyncSeconds }}
metricsPort: {{ .Values.metrics.port }}
images:
  trainer: {{ include "qwen3.image" (list . .Values.images.trainer) }}
  server: {{ include "qwen3.image" (list . .Values.images.server) }}
  evaluator: {{ include "qwen3.image" (list . .Values.images.evaluator) }}
  pullSecrets: {{ .Values.images.pullSecrets | toJson }}
  pullPolicy: {{ .Values.images.pullPolicy }}
storage:
  default: {{ include "qwen3.store" (first $stores) }}
  additional:
    {{- range rest $stores }}
    - {{ include "qwen3.store" . }}
    {{- else }} []
    {{- end }}
  prefix: {{ .Values.storage.prefix }}
  tenantSecret: {{ .Values.storage.tenantSecret }}
catalogue:
  {{- toYaml .Values.catalogue | nindent 2 }}
preflight:
  {{- toYaml .Values.preflight | nindent 2 }}
export:
  {{- toYaml .Values.export | nindent 2 }}
training:
  {{- toYaml .Values.training | nindent 2 }}
serving:
  {{- toYaml .Values.serving | nindent 2 }}
evaluation:
  {{- toYaml .Values.evaluation | nindent 2 }}
{{- end -}}

{{/* What changes when a credentials Secret does. Empty where the cluster can't be asked
(`helm template`, GitOps): there the pods are restarted by hand. No content, not even hashed. */}}
{{- define "qwen3.credentialsVersion" -}}
{{- $root := . -}}
{{- range include "qwen3.stores" . | fromJsonArray -}}
{{- if .credentialsSecret -}}
{{- $secret := lookup "v1" "Secret" $root.Release.Namespace .credentialsSecret -}}
{{- with $secret }}{{ printf "%s/%s/%s " .metadata.name .metadata.uid .metadata.resourceVersion }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
