{{- define "jupyterhub.hub.fullname" -}}hub{{- end }}
{{- define "jupyterhub.proxy-public.fullname" -}}proxy-public{{- end }}
