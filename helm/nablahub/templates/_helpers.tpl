{{- /* Labels of an object: give `(list . "component")`. */}}
{{- define "nablahub.labels" -}}
{{- $root := index . 0 -}}
{{ include "nablahub.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* Labels that never change, by which pods are found: give `(list . "component")`. */}}
{{- define "nablahub.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: nablahub
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- /* Pods of zero-to-jupyterhub: give `(list . "component")`. */}}
{{- define "nablahub.hubSelector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- /* The image of hub and service. */}}
{{- define "nablahub.image" -}}
{{ printf "%s:%s" .Values.jupyterhub.hub.image.name (toString .Values.jupyterhub.hub.image.tag) }}
{{- end }}

{{- define "nablahub.imagePullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "nablahub.jobsNamespace" -}}
{{ .Values.jobs.namespace | default .Release.Namespace }}
{{- end }}

{{- /* Marks what the runner makes: two releases may share a namespace of jobs. */}}
{{- define "nablahub.jobsHub" -}}
hub-{{ .Release.Namespace | sha256sum | trunc 8 }}
{{- end }}

{{- /* What servers ask for as a team's storage, as traitlets of the spawner: the same as jobs. */}}
{{- define "nablahub.teamStorage" -}}
{{- $storage := .Values.jobs.storage -}}
{{ dict
  "team_storage_capacity" $storage.teamSize
  "team_storage_class" ($storage.storageClassName | default nil)
  "team_storage_access_modes" (list $storage.accessMode)
  | toJson }}
{{- end }}

{{- /* Pods of jobs, as the runner labels them. */}}
{{- define "nablahub.jobsSelector" -}}
app: nablahub
component: job
nablahub.org/hub: {{ include "nablahub.jobsHub" . }}
{{- end }}

{{- /* The same pods as a peer of a NetworkPolicy. */}}
{{- define "nablahub.jobsPeer" -}}
- namespaceSelector:
    matchLabels:
      kubernetes.io/metadata.name: {{ include "nablahub.jobsNamespace" . }}
  podSelector:
    matchLabels:
      {{- include "nablahub.jobsSelector" . | nindent 6 }}
{{- end }}

{{- /* What every container of ours gives up. */}}
{{- define "nablahub.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* A token of the Secret: the one that is there, else a new one. Give `(list . "key" "prefix")`. */}}
{{- define "nablahub.token" -}}
{{- $root := index . 0 -}}
{{- $found := lookup "v1" "Secret" $root.Release.Namespace "nablahub" | default dict -}}
{{- $data := $found.data | default dict -}}
{{- if hasKey $data (index . 1) -}}
{{ index $data (index . 1) }}
{{- else -}}
{{ printf "%s%s" (index . 2) (randAlphaNum 48) | b64enc }}
{{- end -}}
{{- end }}

{{- /* The pods of this release that may speak to the service, as `from` of a NetworkPolicy. */}}
{{- define "nablahub.clients" -}}
- podSelector:
    matchLabels:
      {{- include "nablahub.selector" (list . "traefik") | nindent 6 }}
{{- range list "hub" "proxy" "singleuser-server" }}
- podSelector:
    matchLabels:
      {{- include "nablahub.hubSelector" (list $ .) | nindent 6 }}
{{- end }}
{{ include "nablahub.jobsPeer" . }}
{{- end }}

{{- define "nablahub.dnsEgress" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end }}

{{- /* What the service reads at its start, as JSON. */}}
{{- define "nablahub.settings" -}}
{{- /* Whole numbers reach templates as floating point. */}}
{{- $settings := dict }}
{{- range $name, $value := .Values.service.settings }}
{{- $_ := set $settings $name (ternary $value (int64 $value) (or (kindIs "bool" $value) (eq $name "introspection_seconds"))) }}
{{- end }}
{{- $_ := set $settings "state_dir" "/srv/nablahub/state" }}
{{- $_ := set $settings "public_url" .Values.publicUrl }}
{{- $_ := set $settings "proxy_url" (printf "http://nablahub-traefik:%d" (int .Values.traefik.service.port)) }}
{{- $_ := set $settings "hub_api_url" (printf "http://%s:8081/hub/api" (include "jupyterhub.hub.fullname" .)) }}
{{- $_ := set $settings "service_url" "http://nablahub-service:8000" }}
{{- $_ := set $settings "service_host" "0.0.0.0" }}
{{- $_ := set $settings "service_port" 8000 }}
{{- $_ := set $settings "proxy_token_file" "/etc/nablahub/tokens/proxy-token" }}
{{- $_ := set $settings "routes_config_map" (printf "%s/nablahub-routes" .Release.Namespace) }}
{{- $jobs := .Values.jobs }}
{{- $kubernetes := dict
  "namespace" (include "nablahub.jobsNamespace" .)
  "hub" (include "nablahub.jobsHub" .)
  "service_url" (printf "http://nablahub-service.%s:8000/services/nablahub" .Release.Namespace)
  "image" (printf "%s:%s" $jobs.image.name (toString $jobs.image.tag))
  "images" $jobs.images
  "pull_policy" $jobs.image.pullPolicy
  "pull_secrets" .Values.imagePullSecrets
  "cpu_request" $jobs.cpuRequest
  "access_mode" $jobs.storage.accessMode
  "volume_size" $jobs.storage.volumeSize
  "storage_size" $jobs.storage.teamSize
  "network_policies" .Values.networkPolicy.enabled
}}
{{- if $jobs.autoscaled }}
{{- $_ := set $kubernetes "autoscaled" true }}
{{- end }}
{{- with $jobs.storage.cacheClaim }}
{{- $_ := set $kubernetes "cache_claim" . }}
{{- $_ := set $kubernetes "cache_size" $jobs.storage.cacheSize }}
{{- end }}
{{- with $jobs.storage.storageClassName }}
{{- $_ := set $kubernetes "storage_class" . }}
{{- end }}
{{- $_ := set $settings "runner" "kubernetes" }}
{{- $_ := set $settings "kubernetes" $kubernetes }}
{{- with .Values.service.database }}
{{- if .url }}
{{- $_ := set $settings "database_url" .url }}
{{- $_ := set $settings "migrate_at_start" false }}
{{- if .existingSecret }}
{{- $_ := set $settings "database_password_file" "/etc/nablahub/database/password" }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.service.objectStore }}
{{- if .url }}
{{- $_ := set $settings "object_store" (dict
  "url" .url
  "endpoint" .endpoint
  "public_endpoint" .publicEndpoint
  "region" .region
  "path_style" .pathStyle
  "direct" .direct
  "access_key_file" "/etc/nablahub/object-store/access-key"
  "secret_key_file" "/etc/nablahub/object-store/secret-key"
) }}
{{- end }}
{{- end }}
{{- $_ := set $settings "metrics_port" 9000 }}
{{ $settings | toPrettyJson }}
{{- end }}

{{- /* What the database's password is read from, as a source of a projected volume. */}}
{{- define "nablahub.databaseSource" -}}
{{- with .Values.service.database }}
{{- if and .url .existingSecret }}
- secret:
    name: {{ .existingSecret | quote }}
    items:
      - key: {{ .passwordKey | quote }}
        path: database/password
{{- end }}
{{- end }}
{{- end }}

{{- /* The way to the database, as `egress` of a NetworkPolicy: a policy can name no host. */}}
{{- define "nablahub.databaseEgress" -}}
{{- include "nablahub.checks" . }}
{{- with .Values.service.database.url }}
- ports:
    - port: {{ regexFind ":[0-9]+$" (urlParse .).host | trimPrefix ":" | default "5432" }}
{{- end }}
{{- end }}

{{- /* What the keys to the S3 are read from, as a source of a projected volume. */}}
{{- define "nablahub.storeSource" -}}
{{- with .Values.service.objectStore }}
{{- if .url }}
- secret:
    name: {{ .existingSecret | quote }}
    items:
      - key: {{ .accessKeyKey | quote }}
        path: object-store/access-key
      - key: {{ .secretKeyKey | quote }}
        path: object-store/secret-key
{{- end }}
{{- end }}
{{- end }}

{{- /* The port of a URL: give `https://host:port`; empty is Amazon's own. */}}
{{- define "nablahub.port" -}}
{{- $url := urlParse (. | default "https://amazonaws.com") -}}
{{ regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "80" "443" (eq $url.scheme "http")) }}
{{- end }}

{{- /* The service's way to the S3, as `egress` of a NetworkPolicy. */}}
{{- define "nablahub.storeEgress" -}}
{{- include "nablahub.checks" . }}
{{- if .Values.service.objectStore.url }}
- ports:
    - port: {{ include "nablahub.port" .Values.service.objectStore.endpoint }}
  {{- with .Values.networkPolicy.objectStoreTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* The way of servers and jobs to it, inside the cluster: only where you say that it is. */}}
{{- define "nablahub.clientsStoreEgress" -}}
{{- include "nablahub.checks" . }}
{{- $store := .Values.service.objectStore }}
{{- if and $store.url $store.direct .Values.networkPolicy.objectStoreTo }}
- ports:
    - port: {{ include "nablahub.port" ($store.publicEndpoint | default $store.endpoint) }}
  to:
    {{- toYaml .Values.networkPolicy.objectStoreTo | nindent 4 }}
{{- end }}
{{- end }}
