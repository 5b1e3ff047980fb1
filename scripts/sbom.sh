#!/usr/bin/env bash
# Prints what is compiled into the server as a CycloneDX 1.5 list: every crate of the lock file that the program is built
# from on Linux, with version, checksum, licence and what it depends on. Needs cargo and jq.
#
#   scripts/sbom.sh >igny8.cdx.json
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v jq >/dev/null || { echo "sbom: jq is missing: install it" >&2; exit 2; }

cargo metadata --format-version 1 --locked --filter-platform "$(uname -m)-unknown-linux-gnu" |
  jq --rawfile lock Cargo.lock '
    # "name version": checksum
    ($lock | split("[[package]]\n") | map(capture("^name = \"(?<name>[^\"]+)\"\nversion = \"(?<version>[^\"]+)\"[\\s\\S]*checksum = \"(?<sum>[0-9a-f]{64})\""))
      | map({key: "\(.name) \(.version)", value: .sum}) | from_entries) as $sums
    | (.packages | map({key: .id, value: .}) | from_entries) as $packages
    # What tests alone need is not shipped.
    | (.resolve.nodes | map({key: .id, value: [.deps[] | select(any(.dep_kinds[]; .kind != "dev")) | .pkg]}) | from_entries) as $needs
    | def reached($seen; $open): if $open == [] then $seen else
        reduce $open[] as $id ($seen; .[$id] = true) | . as $now
        | reached($now; [$open[] | $needs[.][]] | unique | map(select($now[.] | not))) end;
      def purl: "pkg:cargo/\(.name)@\(.version)";
      .resolve.root as $root
    | (reached({}; [$root]) | keys) as $shipped
    | {
        bomFormat: "CycloneDX", specVersion: "1.5", version: 1,
        metadata: {component: ($packages[$root] | {type: "application", "bom-ref": purl, name, version})},
        components: [$shipped[] | select(. != $root) | $packages[.] | {
          type: "library", "bom-ref": purl, name, version, purl: purl,
          hashes: [{alg: "SHA-256", content: $sums["\(.name) \(.version)"]}],
          # Old manifests write MIT/Apache-2.0.
          licenses: (if .license then [{expression: (.license | gsub(" */ *"; " OR "))}] else [] end)
        }],
        dependencies: [$shipped[] | {ref: ($packages[.] | purl), dependsOn: [$needs[.][] | $packages[.] | purl] | unique}]
      }'
