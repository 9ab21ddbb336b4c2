# Sourced: keys and certificates of a cluster, in $dir/pki.
# shellcheck shell=bash disable=SC2034,SC2154 # shared with the scripts that source it

pki_config() {
  cat <<C
[req]
distinguished_name = dn
[dn]
[ca]
basicConstraints = critical, CA:TRUE
[leaf]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = $1
C
}

# pki_issue NAME SUBJECT [ALTERNATIVE NAMES]
pki_issue() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "$2" \
    -config <(pki_config "${3:-DNS:$1}") -extensions leaf -CA "$dir/pki/ca.crt" -CAkey "$dir/pki/ca.key" \
    -keyout "$dir/pki/$1.key" -out "$dir/pki/$1.crt" 2>>"$dir/log/pki.log"
}

pki_make() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=lockstep-test-cluster \
    -config <(pki_config DNS:ca) -extensions ca -keyout "$dir/pki/ca.key" -out "$dir/pki/ca.crt" 2>>"$dir/log/pki.log"
  openssl ecparam -name prime256v1 -genkey -noout -out "$dir/pki/serviceaccounts.key"
  openssl ec -in "$dir/pki/serviceaccounts.key" -pubout -out "$dir/pki/serviceaccounts.pub" 2>>"$dir/log/pki.log"
  pki_issue apiserver /CN=kube-apiserver \
    "IP:$hub_ip, IP:127.0.0.1, IP:10.96.0.1, DNS:kubernetes, DNS:kubernetes.default, DNS:kubernetes.default.svc"
  pki_issue storage /CN=storage "IP:$hub_ip, DNS:storage.lockstep.test"
  pki_issue admin /O=system:masters/CN=admin
  pki_issue apiserver-to-kubelet /O=system:masters/CN=apiserver-to-kubelet
  pki_issue kube-controller-manager /CN=system:kube-controller-manager
  pki_issue kube-scheduler /CN=system:kube-scheduler
}

# kubeconfig NAME FILE: a kubeconfig for the holder of certificate NAME that needs no other file
kubeconfig() {
  (
    umask 077
    cat >"$2" <<Y
apiVersion: v1
kind: Config
clusters:
- name: lockstep-test
  cluster:
    server: $api
    certificate-authority-data: $(base64 -w0 "$dir/pki/ca.crt")
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w0 "$dir/pki/$1.crt")
    client-key-data: $(base64 -w0 "$dir/pki/$1.key")
contexts:
- name: lockstep-test
  context: {cluster: lockstep-test, user: $1, namespace: default}
current-context: lockstep-test
Y
  )
}
