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
