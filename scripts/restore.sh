#!/usr/bin/env bash
# Lays a base backup out so that Postgres, started on it, goes forward through the archived WAL to a moment and then opens.
#
#   scripts/restore.sh BACKUP ARCHIVE MOMENT DATA
#     BACKUP   what scripts/backup.sh printed
#     ARCHIVE  folder of the archived WAL
#     MOMENT   such as "2026-11-21 09:30:00.123456+00": what was committed until then is there, what came later is not;
#              "latest": everything that was archived
#     DATA     the new data folder; must not exist
#
# Run it as the account that Postgres runs as.
set -euo pipefail

if (($# != 4)); then
  echo "usage: $0 BACKUP ARCHIVE MOMENT DATA" >&2
  exit 2
fi
backup=$1 archive=$(realpath "$2") moment=$3 data=$4
if [[ -e $data ]]; then
  echo "restore: $data exists; name a folder that does not, nothing is ever overwritten" >&2
  exit 1
fi

pg_verifybackup --quiet "$backup"
cp -a "$backup" "$data"
chmod 700 "$data"
{
  echo "restore_command = 'cp $archive/%f %p'"
  # Not into the archive that it comes from: the restored server is another one. Turn it on again with a new folder.
  echo "archive_mode = off"
  if [[ $moment != latest ]]; then
    echo "recovery_target_time = '$moment'"
    echo "recovery_target_action = 'promote'"
  fi
} >>"$data/postgresql.auto.conf"
touch "$data/recovery.signal"
echo "restored; start Postgres on $data, wait until pg_is_in_recovery() is false, then run: igny8 verify"
