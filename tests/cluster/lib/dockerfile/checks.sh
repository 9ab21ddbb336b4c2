# Sourced: what is checked of the Dockerfile's image.
# shellcheck shell=bash disable=SC2154 # shared with the script that sources it

# build_image TAR: from the checkout to an OCI archive, nothing taken from an earlier build
build_image() {
  builder bud --isolation chroot --pull-never --no-cache --timestamp 0 "${build_options[@]}" --tag "$name" --file "$dockerfile" "$checkout"
  builder push --quiet --disable-compression "$name" "oci-archive:$1:$name"
}

listing() { "$here/lib/oci-list.py" "$@"; }

same_digest() {
  local first again
  build_image "$work/again.tar"
  first=$(listing digest "$image")
  again=$(listing digest "$work/again.tar")
  rm "$work/again.tar"
  echo "$first, then $again"
  [[ $first == "$again" ]]
}

same_config() { diff <(listing config "$image") <(listing config "$peer"); }

same_files() { diff <(listing files "$image") <(listing files "$peer"); }

# Whatever may be executed, libraries left out.
no_shell() {
  local programs
  programs=$(listing files "$image" | awk '$1 ~ /^-.*x/ && $3 !~ /\/(lib|ld-)[^/]*\.so\.[0-9]+$/ { print $3 }')
  echo "$programs"
  [[ $programs == $'/opt/lockstep/bin/lockstep-agent\n/opt/lockstep/bin/lockstep-worker' ]]
}

# inside PROGRAM ARGUMENT: what it prints in the image as user 65532, without privileges, nothing writable
inside() {
  local container bundle=$work/bundle status=0
  container=$(builder from --pull-never "$name")
  rm -rf "$bundle"
  mkdir "$bundle"
  runc spec --bundle "$bundle"
  python3 - "$bundle/config.json" "$(builder mount "$container")" "$@" <<'P'
import json, sys
path, root, *args = sys.argv[1:]
spec = json.load(open(path))
spec["root"] = {"path": root, "readonly": True}
spec["process"] |= {"args": args, "terminal": False, "user": {"uid": 65532, "gid": 65532}, "capabilities": {}}
spec["process"] |= {"env": ["PATH=/opt/lockstep/bin", "HOME=/tmp"], "noNewPrivileges": True}
json.dump(spec, open(path, "w"))
P
  timeout 60 runc --root "$work/runc" run --bundle "$bundle" "image-$$-$RANDOM" || status=$?
  builder umount "$container" >/dev/null
  builder rm "$container" >/dev/null
  return "$status"
}

agent_runs() { inside lockstep-agent --version | grep -x "lockstep-agent $(sed -nE 's/^version = "(.*)"/\1/p' "$checkout/Cargo.toml")"; }

# It is linked against libtorch, all of which is loaded before its first line.
worker_runs() { inside lockstep-worker --help | grep "trains one rank"; }

no_shell_runs() {
  local said
  said=$(inside /bin/sh -c true 2>&1) && return 1
  echo "$said"
  grep -q "stat /bin/sh: no such file or directory" <<<"$said"
}

digits_train() {
  set -a
  eval "$exports"
  set +a
  "$here/image.sh" --only-load "$image" --load "$cluster"
  "$bin/lockstep" launch -f "$checkout/trainer/examples/digits-cluster.yaml" --set name=digits-dockerfile \
    --set "kubernetes.image=${name#docker.io/library/}"
}
