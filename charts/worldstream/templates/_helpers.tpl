{{- define "worldstream.name" -}}
{{- if contains "worldstream" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-worldstream" (.Release.Name | trunc 28 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "worldstream.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "worldstream.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "worldstream.selector" -}}
app.kubernetes.io/name: worldstream-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "worldstream.labels" -}}
{{ include "worldstream.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: worldstream
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "worldstream.image" -}}
{{- printf "%s:%s" .image.repository (default .version .image.tag) -}}
{{- end -}}

{{/* The pods of streams, as the operator labels them. */}}
{{- define "worldstream.workers" -}}
app.kubernetes.io/name: worldstream
app.kubernetes.io/managed-by: worldstream-operator
{{- end -}}

{{/* Where profiles are installed, as a JSON list without repeats. */}}
{{- define "worldstream.profileNamespaces" -}}
{{- $all := list -}}
{{- range .Values.profiles -}}
{{- $all = concat $all (default (list $.Release.Namespace) .namespaces) -}}
{{- end -}}
{{- $all | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* Where workers run, as far as the values tell, as a JSON list. */}}
{{- define "worldstream.workerNamespaces" -}}
{{- if .Values.networkPolicy.workerNamespaces -}}
{{- .Values.networkPolicy.workerNamespaces | toJson -}}
{{- else if .Values.watchNamespaces -}}
{{- .Values.watchNamespaces | toJson -}}
{{- else -}}
{{- include "worldstream.profileNamespaces" . -}}
{{- end -}}
{{- end -}}

{{/* What the operator may do in a namespace that it watches; docs/cluster/rbac.md says why. */}}
{{- define "worldstream.rules" -}}
- apiGroups: [worldstream.io]
  resources: [streamprofiles, readytriggers]
  verbs: [get, list, watch]
- apiGroups: [worldstream.io]
  resources: [worldstreams]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [worldstream.io]
  resources: [worldstreams/status, readytriggers/status]
  verbs: [get, patch]
- apiGroups: [worldstream.io]
  resources: [worldstreams/finalizers, readytriggers/finalizers]
  verbs: [update]
- apiGroups: [worldstream.io]
  resources: [streamclocks]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [worldstream.io]
  resources: [streamcheckpoints]
  verbs: [get, list, watch, create, patch]
- apiGroups: [worldstream.io]
  resources: [streamcheckpoints/status]
  verbs: [get, patch, update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [configmaps, serviceaccounts]
  verbs: [get, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, create, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* What every pod reaches. */}}
{{- define "worldstream.egress" }}
# Names.
- to:
    - namespaceSelector: {}
      podSelector:
        matchLabels:
          k8s-app: kube-dns
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
# The API server.
- to:
    {{- range .Values.networkPolicy.apiServer.cidrs }}
    - ipBlock:
        cidr: {{ . }}
    {{- end }}
  ports:
    {{- range .Values.networkPolicy.apiServer.ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}
{{- define "worldstream.scraped" }}
- ports:
    - {port: {{ .port }}, protocol: TCP}
  {{- with .scrapers }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
