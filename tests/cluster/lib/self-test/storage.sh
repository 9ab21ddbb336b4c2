# Sourced by self-test.sh: the object store does what a run's safety rests on.
# shellcheck shell=bash disable=SC2154 # shared with the script that sources it

bucket() { "$LOCKSTEP_CLUSTER_PARTS/bucket" "$@"; }

# with_key ID SECRET COMMAND...
with_key() { AWS_ACCESS_KEY_ID=$1 AWS_SECRET_ACCESS_KEY=$2 "${@:3}"; }

# refused WHY COMMAND...: it fails, and the store calls that WHY
refused() {
  local said
  said=$("${@:2}" 2>&1) && {
    echo "not refused: ${*:2}"
    return 1
  }
  echo "$said"
  grep -qF "$1" <<<"$said"
}

# may RIGHTS NAME PREFIX: the key has these rights there and no others
may() {
  local rights
  rights=$(bucket rights "${@:2}")
  echo "below \"$3\": ${rights:-nothing}"
  [[ $rights == "$1" ]]
}

scoped_key() {
  local key=(with_key selftestkey self-test-secret)
  bucket key lockstep theirs selftestkey self-test-secret
  "${key[@]}" bucket probe lockstep theirs
  "${key[@]}" may "write read list delete" lockstep theirs
  "${key[@]}" may "" lockstep others
  "${key[@]}" may "" lockstep theirs-not
  "${key[@]}" may "" lockstep ""
  refused SignatureDoesNotMatch with_key selftestkey not-its-secret bucket probe lockstep theirs
  bucket revoke selftestkey
  # It is over at once, not when some cache of keys is.
  refused InvalidAccessKeyId "${key[@]}" bucket probe lockstep theirs
}

unknown_keys() {
  refused SignatureDoesNotMatch with_key "$AWS_ACCESS_KEY_ID" not-its-secret bucket probe lockstep self-test
  refused InvalidAccessKeyId with_key nobody "$AWS_SECRET_ACCESS_KEY" bucket probe lockstep self-test
}

# The cluster's authority is trusted by this machine only where it is told to, and the certificate is for the name that pods use.
store_speaks_tls() {
  local host=${AWS_ENDPOINT_URL#https://}
  refused "certificate signed by unknown authority" env SSL_CERT_FILE=/dev/null "$LOCKSTEP_CLUSTER_PARTS/bucket" probe lockstep self-test
  openssl s_client -connect "$host" -servername storage.lockstep.test -verify_hostname storage.lockstep.test \
    -CAfile "$SSL_CERT_FILE" -verify_return_error </dev/null
}

storage_restarts() {
  local key=(with_key outlives self-test-secret) gone=(with_key doesnot self-test-secret)
  bucket key lockstep kept outlives self-test-secret
  bucket key lockstep kept doesnot self-test-secret
  bucket revoke doesnot
  "${key[@]}" bucket put lockstep kept/object before
  fault restart storage
  [[ $("${key[@]}" bucket get lockstep kept/object) == before ]]
  "${key[@]}" may "write read list delete" lockstep kept
  "${key[@]}" may "" lockstep others
  refused PreconditionFailed "${key[@]}" bucket put lockstep kept/object after
  refused InvalidAccessKeyId "${gone[@]}" bucket get lockstep kept/object
  bucket revoke outlives
  refused InvalidAccessKeyId "${key[@]}" bucket get lockstep kept/object
}
