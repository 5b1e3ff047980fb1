#!/usr/bin/env bash
# Builds the image afresh, restarts, and fails unless the running server is the commit just built.
#
#   scripts/rebuild.sh                      build HEAD without cache, restart, check
#   scripts/rebuild.sh --check URL COMMIT   only wait for URL to be ready and compare its commit
#
# SERVER_URL (default http://127.0.0.1:8010) says where the server answers after the restart, READY_SECONDS (default 60)
# how long to wait for it. Exit code 0: that commit is serving. 1: it is not. 2: called wrongly, or a changed tree.
set -euo pipefail

fail() {
  echo "rebuild: $1" >&2
  exit "${2:-1}"
}

# Waits until URL/readyz answers 200; then URL/healthz must tell COMMIT.
check() {
  local url=${1%/} commit=$2 seconds=${READY_SECONDS:-60} deadline health running
  command -v curl >/dev/null || fail "curl is missing: install it"  2
  [[ $seconds =~ ^[0-9]+$ ]] || fail "READY_SECONDS is a whole number, not '$seconds'" 2
  [[ $commit =~ ^[0-9a-f]{40}([0-9a-f]{24})?$ ]] || fail "COMMIT is a full commit, not '$commit'" 2

  deadline=$((SECONDS + seconds))
  until curl --silent --fail --max-time 3 --output /dev/null "$url/readyz"; do
    ((SECONDS < deadline)) || fail "$url/readyz is not ready after $seconds s"
    sleep 0.5
  done

  health=$(curl --silent --show-error --fail --max-time 3 "$url/healthz") || fail "$url/healthz does not answer"
  running=$(tr -d '[:space:]' <<<"$health" | sed -n 's/.*"data":{\([^}]*\)}.*/\1/p' |
    sed -n 's/.*"commit":"\([^"]*\)".*/\1/p')
  [[ -n $running ]] || fail "$url/healthz tells no commit: $health"
  [[ $running == "$commit" ]] || fail "a stale build is serving: $url runs $running, wanted $commit"
  echo "rebuild: $url serves $commit"
}

rebuild() {
  local commit changes
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  command -v docker >/dev/null || fail "docker is missing: install Docker with its compose plugin" 2
  docker compose version >/dev/null 2>&1 || fail "docker has no compose plugin: install docker-compose-plugin" 2
  commit=$(git rev-parse --verify HEAD) || fail "HEAD names no commit" 2
  changes=$(git status --porcelain) || fail "git cannot tell whether the tree has changes" 2
  [[ -z $changes ]] || fail "the tree has changes, so no commit names what would be built; commit or stash: "$'\n'"$changes" 2

  docker compose build --no-cache --build-arg "GIT_COMMIT=$commit" || fail "the build failed"
  # Postgres keeps running. The migration runs again, because its container is made anew.
  docker compose up --detach --force-recreate migrate server ||
    fail "the restart failed; \`docker compose logs migrate server\` says why"
  check "${SERVER_URL:-http://127.0.0.1:8010}" "$commit"
}

case ${1-} in
  "")
    rebuild
    ;;
  --check)
    (($# == 3)) || fail "usage: scripts/rebuild.sh --check URL COMMIT" 2
    check "$2" "$3"
    ;;
  *)
    fail "usage: scripts/rebuild.sh [--check URL COMMIT]" 2
    ;;
esac
