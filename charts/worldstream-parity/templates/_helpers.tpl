{{- define "parity.selector" -}}
app.kubernetes.io/name: {{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end -}}

{{- define "parity.labels" -}}
{{ include "parity.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: worldstream-parity
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "parity.image" -}}
{{- printf "%s:%s" .image.repository (default .version .image.tag) -}}
{{- end -}}

{{/* An endpoint's scheme, host and port, as a JSON object; the default port is given. */}}
{{- define "parity.endpoint" -}}
{{- $parts := urlParse .url -}}
{{- $host := $parts.hostname -}}
{{- $port := regexFind ":[0-9]+$" $parts.host | trimPrefix ":" -}}
{{- if not $host -}}
{{- fail (printf "%s: found %q, expected scheme://host:port" .field .url) -}}
{{- end -}}
{{- dict "scheme" $parts.scheme "host" $host "port" (default .port $port | int) "ip" (regexMatch "^[0-9]+(\\.[0-9]+){3}$" $host) | toJson -}}
{{- end -}}

{{/* Where pods find a store: by the name of its Service, but over TLS by the name that its
     certificate is for. */}}
{{- define "parity.minioUrl" -}}
{{- if .Values.minio.endpoint -}}
{{- $at := include "parity.endpoint" (dict "url" .Values.minio.endpoint "port" 9000 "field" "minio.endpoint") | fromJson -}}
{{- if eq $at.scheme "https" -}}
{{- .Values.minio.endpoint -}}
{{- else -}}
http://minio:{{ $at.port }}
{{- end -}}
{{- else -}}
http://minio:9000
{{- end -}}
{{- end -}}

{{- define "parity.kinesisUrl" -}}
{{- if .Values.kinesis.endpoint -}}
{{- $at := include "parity.endpoint" (dict "url" .Values.kinesis.endpoint "port" 4568 "field" "kinesis.endpoint") | fromJson -}}
{{- if eq $at.scheme "https" -}}
{{- .Values.kinesis.endpoint -}}
{{- else -}}
http://kinesis:{{ $at.port }}
{{- end -}}
{{- else -}}
http://kinesis:4568
{{- end -}}
{{- end -}}

{{- define "parity.dsn" -}}
{{- $host := "postgres" -}}
{{- $port := 5432 -}}
{{- with .Values.postgres.endpoint -}}
{{- $at := include "parity.endpoint" (dict "url" . "port" 5432 "field" "postgres.endpoint") | fromJson -}}
{{- $port = $at.port -}}
{{- if ne $.Values.postgres.sslmode "disable" -}}
{{- $host = $at.host -}}
{{- end -}}
{{- end -}}
{{- with .Values.postgres -}}
{{- printf "postgresql://%s:%s@%s:%d/%s?sslmode=%s" (urlquery .user) (urlquery .password) $host (int $port) .database .sslmode -}}
{{- end -}}
{{- end -}}

{{/* Names of Secrets. */}}
{{- define "parity.secret" -}}
{{- $values := index .root.Values .store -}}
{{- default (printf "%s-%s" .root.Release.Name .store) $values.existingSecret -}}
{{- end -}}

{{/* S3's credentials as a profile and a trigger have them. */}}
{{- define "parity.credentials" -}}
accessKeyId: {secret: {name: {{ . }}, key: access-key}}
secretAccessKey: {secret: {name: {{ . }}, key: secret-key}}
{{- end -}}

{{/* The Service of something: of a pod here, or of what is outside. */}}
{{- define "parity.service" -}}
{{- $name := .component -}}
{{- $labels := include "parity.labels" . -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- $labels | nindent 4 }}
spec:
{{- if not .outside }}
  {{- if .nodePort }}
  type: NodePort
  {{- end }}
  selector:
    {{- include "parity.selector" . | nindent 4 }}
  ports:
    - name: main
      port: {{ .port }}
      targetPort: main
      {{- with .nodePort }}
      nodePort: {{ . }}
      {{- end }}
{{- else if .outside.ip }}
  ports:
    - {name: main, port: {{ .outside.port }}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {{ $name }}-outside
  namespace: {{ .root.Release.Namespace }}
  labels:
    kubernetes.io/service-name: {{ $name }}
    {{- $labels | nindent 4 }}
addressType: IPv4
ports:
  - {name: main, port: {{ .outside.port }}}
endpoints:
  - addresses: [{{ .outside.host | quote }}]
{{- else }}
  type: ExternalName
  externalName: {{ .outside.host }}
{{- end }}
{{- end -}}

{{/* What all pods of this chart have: nobody's user, nothing to gain. */}}
{{- define "parity.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user }}
  runAsGroup: {{ .user }}
  fsGroup: {{ .user }}
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "parity.podMetadata" -}}
labels:
  {{- mergeOverwrite (deepCopy .root.Values.pod.labels) (include "parity.labels" . | fromYaml) | toYaml | nindent 2 }}
{{- with .root.Values.pod.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "parity.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: {{ .readOnly }}
  capabilities:
    drop: [ALL]
{{- end -}}
