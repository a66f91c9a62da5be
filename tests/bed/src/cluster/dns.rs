//! The cluster's DNS: one CoreDNS, which knows the cluster's own names and no others.

use super::State;
use super::control::kubectl;
use super::network::DNS;
use crate::error::Result;

/// Applies it.
pub(super) fn apply(state: &State) -> Result<()> {
    let file = state.write("dns.yaml", &manifests())?;
    kubectl(
        state,
        &[
            "apply",
            "--server-side",
            "--force-conflicts",
            "-f",
            &file.display().to_string(),
        ],
    )
    .map(drop)
}

/// Whether it answers.
pub(super) fn ready(state: &State) -> bool {
    kubectl(
        state,
        &[
            "-n",
            "kube-system",
            "get",
            "deployment",
            "coredns",
            "-o",
            "jsonpath={.status.availableReplicas}",
        ],
    )
    .is_ok_and(|count| count.trim() == "1")
}

fn manifests() -> String {
    format!(
        r#"apiVersion: v1
kind: ServiceAccount
metadata: {{name: coredns, namespace: kube-system}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: coredns}}
rules:
- {{apiGroups: [""], resources: [services, pods, namespaces], verbs: [list, watch]}}
- {{apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: coredns}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: coredns}}
subjects: [{{kind: ServiceAccount, name: coredns, namespace: kube-system}}]
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: coredns, namespace: kube-system}}
data:
  Corefile: |
    .:5353 {{
      errors
      ready :8181
      kubernetes cluster.local in-addr.arpa
      cache 5
    }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: coredns, namespace: kube-system, labels: {{k8s-app: kube-dns}}}}
spec:
  selector: {{matchLabels: {{k8s-app: kube-dns}}}}
  template:
    metadata: {{labels: {{k8s-app: kube-dns}}}}
    spec:
      serviceAccountName: coredns
      priorityClassName: system-cluster-critical
      nodeSelector: {{kubernetes.io/hostname: node-1}}
      containers:
      - name: coredns
        image: docker.io/worldstream-bed/coredns:1
        imagePullPolicy: Never
        args: [-conf, /etc/coredns/Corefile]
        securityContext:
          runAsNonRoot: true
          readOnlyRootFilesystem: true
          allowPrivilegeEscalation: false
          capabilities: {{drop: [ALL]}}
          seccompProfile: {{type: RuntimeDefault}}
        volumeMounts: [{{name: config, mountPath: /etc/coredns}}]
        readinessProbe: {{httpGet: {{path: /ready, port: 8181}}, periodSeconds: 1}}
      volumes: [{{name: config, configMap: {{name: coredns}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system, labels: {{k8s-app: kube-dns}}}}
spec:
  clusterIP: {DNS}
  selector: {{k8s-app: kube-dns}}
  ports:
  - {{name: dns, port: 53, targetPort: 5353, protocol: UDP}}
  - {{name: dns-tcp, port: 53, targetPort: 5353, protocol: TCP}}
"#
    )
}
