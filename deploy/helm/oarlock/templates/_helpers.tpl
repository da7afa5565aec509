{{- /* Labels of every object, those of deploy/k8s/base. */ -}}
{{- define "oarlock.labels" -}}
app.kubernetes.io/name: oarlock
app.kubernetes.io/part-of: oarlock
{{- end }}

{{- define "oarlock.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}

{{- /* The controller's pod: changes the object that it is given to what the values say. */ -}}
{{- define "oarlock.controller" -}}
{{- $values := .root.Values }}
{{- $image := include "oarlock.image" .root }}
{{- $_ := set .deployment.spec "replicas" (int $values.controller.replicas) }}
{{- $pod := .deployment.spec.template.spec }}
{{- $container := first $pod.containers }}
{{- $_ := set $container "image" $image }}
{{- $_ := set $container "imagePullPolicy" $values.image.pullPolicy }}
{{- $_ := set $container "resources" $values.controller.resources }}
{{- range $container.env }}
{{- if eq .name "OARLOCK_IMAGE" }}{{- $_ := set . "value" $image }}{{- end }}
{{- end }}
{{- $env := $container.env }}
{{- if contains "@" $values.controller.natsUrl }}
{{- fail "controller.natsUrl has a user, password or token in it, and pods would show it; accepted: an address without, and runs that name a Secret (spec.nats.urlSecretRef)" }}
{{- end }}
{{- with $values.controller.natsUrl }}{{- $env = append $env (dict "name" "OARLOCK_NATS_URL" "value" .) }}{{- end }}
{{- with $values.controller.watchNamespace }}{{- $env = append $env (dict "name" "OARLOCK_WATCH_NAMESPACE" "value" .) }}{{- end }}
{{- $_ := set $container "env" (concat $env $values.controller.env) }}
{{- with $values.imagePullSecrets }}{{- $_ := set $pod "imagePullSecrets" . }}{{- end }}
{{- with $values.controller.tolerations }}{{- $_ := set $pod "tolerations" (concat ($pod.tolerations | default list) .) }}{{- end }}
{{- range $name := list "nodeSelector" "affinity" "priorityClassName" }}
{{- with index $values.controller $name }}{{- $_ := set $pod $name . }}{{- end }}
{{- end }}
{{- if gt (int $values.controller.replicas) 1 }}
{{- $spread := dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway" }}
{{- $_ := set $spread "labelSelector" .deployment.spec.selector }}
{{- $_ := set $pod "topologySpreadConstraints" (list $spread) }}
{{- end }}
{{- end }}
