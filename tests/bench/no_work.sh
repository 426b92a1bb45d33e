#!/bin/sh
# In place of a site's Python: a task that does no work. Called as
#   no_work.sh PAYLOAD task --root … --workdir … --uid … --index …
# it sleeps for as long as the file `sleep_s` in the root says, if there is one, and places an
# outcome by rename.
root=$4 workdir=$6 uid=$8 index=${10}
[ ! -e "$root/sleep_s" ] || { read -r seconds <"$root/sleep_s" && sleep "$seconds"; }
cycle=${workdir#cycles/}; phase=${cycle#*/}; number=${phase#*/}; cycle=${cycle%%/*}; phase=${phase%%/*}
made="$root/outbox/.$uid.$index"
printf '{"version":1,"campaign":"%s","task":"c%s.%s.%s","uid":"%s","index":%s,"job_id":"%s","host":"bench","kind":"generate","status":"done","metrics":{"kind":"generate","structures":[],"environments":{},"redrawn":0},"started_at":"2026-01-01T00:00:00Z","ended_at":"2026-01-01T00:00:00Z","wall_s":0,"cpu_s":0}\n' \
  "${uid%%.*}" "$cycle" "$phase" "$number" "$uid" "$index" "$SLURM_JOB_ID" >"$made" && exec mv "$made" "$root/outbox/$uid.$index.json"
