#!/usr/bin/env bash
# A base backup of the whole Postgres server, checked, beside an archive of its WAL: scripts/restore.sh goes back to any
# moment after it.
#
#   scripts/backup.sh URL FOLDER     URL of a role with REPLICATION; the backup becomes FOLDER/base-<UTC time>
#
# The server must archive its WAL; in postgresql.conf, with an ARCHIVE on another disk:
#   archive_mode = on
#   archive_timeout = 60
#   archive_command = 'test ! -f ARCHIVE/%f && cp %p ARCHIVE/%f.new && sync ARCHIVE/%f.new && mv ARCHIVE/%f.new ARCHIVE/%f'
set -euo pipefail

if (($# != 2)); then
  echo "usage: $0 URL FOLDER" >&2
  exit 2
fi
url=$1 backup=$2/base-$(date -u +%Y%m%dT%H%M%SZ)

if [[ $(psql "$url" -Atqc "show archive_mode") == off ]]; then
  echo "backup: the server archives no WAL (archive_mode = off); without it a backup is only what it was at its own moment" >&2
  exit 1
fi
mkdir -p "$2"
# Under another name until it is whole and checked: what is called base-… can be restored.
pg_basebackup --dbname="$url" --pgdata="$backup.new" --checkpoint=fast --wal-method=stream
pg_verifybackup --quiet "$backup.new"
mv "$backup.new" "$backup"
echo "$backup"
