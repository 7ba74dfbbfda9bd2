{{- /* Renders to nothing: refuses values that cannot work, alone or together. What reads an address
includes it first, since the order of templates is helm's. */}}
{{- define "nablahub.checks" -}}
{{- $base := .Values.jupyterhub.hub.baseUrl | default "/" }}
{{- if ne $base "/" }}
{{- fail (printf "jupyterhub.hub.baseUrl is %q, and NablaHub is served from / only: give it a host name of its own." $base) }}
{{- end }}
{{- $service := .Values.service }}
{{- if and (gt (int $service.replicas) 1) (not $service.database.url) }}
{{- fail (printf "service.replicas is %d, and SQLite has one writer: name a PostgreSQL in service.database.url." (int $service.replicas)) }}
{{- end }}
{{- if and (gt (int $service.replicas) 1) (not $service.storage.existingClaim) (not (has "ReadWriteMany" $service.storage.accessModes)) }}
{{- fail (printf "service.replicas is %d, and its volume is for one node: put ReadWriteMany into service.storage.accessModes, or name a claim of yours in service.storage.existingClaim." (int $service.replicas)) }}
{{- end }}
{{- if and $service.database.existingSecret (not $service.database.url) }}
{{- fail "service.database.existingSecret names a password, and service.database.url no database." }}
{{- end }}
{{- with $service.database.url }}
{{- $written := "it is written postgresql://USER@HOST:PORT/DATABASE, such as postgresql://nablahub@db.example.org:5432/nablahub." }}
{{- if not (hasPrefix "postgresql://" .) }}
{{- fail (printf "service.database.url is no address of a PostgreSQL: %s" $written) }}
{{- end }}
{{- if regexMatch "^postgresql://[^:/@]*:.*@" . }}
{{- fail "service.database.url holds a password, which all who see the values could read: leave it out, put it into a Secret, and name that in service.database.existingSecret." }}
{{- end }}
{{- if not (regexMatch "^postgresql://[^:/@]+@[^/@]+/[^/?]+(\\?.*)?$" .) }}
{{- fail (printf "service.database.url lacks its user, host or database, or has too much: %s" $written) }}
{{- end }}
{{- end }}
{{- $store := $service.objectStore }}
{{- if not (regexMatch "^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_.-]+)*/?)?$" $store.url) }}
{{- fail (printf "service.objectStore.url is %q: it is written s3://bucket or s3://bucket/folder, and the address of the S3 goes into service.objectStore.endpoint." $store.url) }}
{{- end }}
{{- range $name := list "endpoint" "publicEndpoint" }}
{{- $given := index $store $name }}
{{- if contains "@" $given }}
{{- fail (printf "service.objectStore.%s holds keys, which all who see the values could read: leave them out, put them into a Secret, and name that in service.objectStore.existingSecret." $name) }}
{{- end }}
{{- if not (regexMatch "^(https?://[^/?#@ ]+/?)?$" $given) }}
{{- fail (printf "service.objectStore.%s is %q: it is written https://HOST or http://HOST:PORT, without a path." $name $given) }}
{{- end }}
{{- end }}
{{- if and $store.url (not $store.existingSecret) }}
{{- fail (printf "service.objectStore.url is %q, and nothing has the keys to it: name a Secret of yours in service.objectStore.existingSecret." $store.url) }}
{{- end }}
{{- if and (not $store.url) (or $store.endpoint $store.publicEndpoint $store.existingSecret) }}
{{- fail "service.objectStore has an endpoint or a Secret, and service.objectStore.url names no bucket, such as s3://bucket." }}
{{- end }}
{{- if not (regexMatch "^https?://[^/]" .Values.publicUrl) }}
{{- fail (printf "publicUrl is %q: it is what people type in their browser, so begin it with https:// or http://, such as https://hub.example.org." .Values.publicUrl) }}
{{- end }}
{{- if regexMatch "^https?://[^/]+/." .Values.publicUrl }}
{{- fail (printf "publicUrl is %q, and NablaHub is served from / only: leave out the path, and give it a host name of its own." .Values.publicUrl) }}
{{- end }}
{{- if hasSuffix "/" .Values.publicUrl }}
{{- fail (printf "publicUrl is %q: leave out the slash at its end." .Values.publicUrl) }}
{{- end }}
{{- $jobs := .Values.jobs }}
{{- $sizes := dict
  "service.storage.size" $service.storage.size
  "jobs.storage.volumeSize" $jobs.storage.volumeSize
  "jobs.storage.teamSize" $jobs.storage.teamSize
  "jobs.storage.cacheSize" $jobs.storage.cacheSize
}}
{{- range $name, $size := $sizes }}
{{- if not (regexMatch "^[0-9]+([.][0-9]+)?([eE][0-9]+|[kMGTPE]|[KMGTPE]i)?$" $size) }}
{{- fail (printf "%s is %q, and no size: it is written as Kubernetes does, such as 20Gi." $name $size) }}
{{- end }}
{{- end }}
{{- range $part := list "service" "traefik" }}
{{- range $kind, $given := (index $.Values $part).resources }}
{{- range $name, $quantity := $given }}
{{- if not (regexMatch "^[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?$" (toString $quantity)) }}
{{- fail (printf "%s.resources.%s.%s is %q, and no quantity: it is written as Kubernetes does, such as 500m or 2Gi." $part $kind $name (toString $quantity)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if not (index $jobs.images "serving") }}
{{- fail "jobs.images.serving names no image, and deployments need it: build images/serving, and name it there." }}
{{- end }}
{{- end }}
