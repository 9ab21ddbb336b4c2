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
  local mine=(with_key selftestkey self-test-secret)
  bucket key lockstep theirs selftestkey self-test-secret
  "${mine[@]}" bucket probe lockstep theirs
  "${mine[@]}" may "write read list delete" lockstep theirs
  "${mine[@]}" may "" lockstep others
  "${mine[@]}" may "" lockstep theirs-not
  "${mine[@]}" may "" lockstep ""
  refused SignatureDoesNotMatch with_key selftestkey not-its-secret bucket probe lockstep theirs
  bucket revoke selftestkey
  # It is over at once, not when some cache of keys is.
  refused InvalidAccessKeyId "${mine[@]}" bucket probe lockstep theirs
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
  local mine=(with_key outlives self-test-secret) gone=(with_key doesnot self-test-secret)
  bucket key lockstep kept outlives self-test-secret
  bucket key lockstep kept doesnot self-test-secret
  bucket revoke doesnot
  "${mine[@]}" bucket put lockstep kept/object before
  fault restart storage
  [[ $("${mine[@]}" bucket get lockstep kept/object) == before ]]
  "${mine[@]}" may "write read list delete" lockstep kept
  "${mine[@]}" may "" lockstep others
  refused PreconditionFailed "${mine[@]}" bucket put lockstep kept/object after
  refused InvalidAccessKeyId "${gone[@]}" bucket get lockstep kept/object
  bucket revoke outlives
  refused InvalidAccessKeyId "${mine[@]}" bucket get lockstep kept/object
}
