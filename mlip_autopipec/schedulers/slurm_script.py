"""What is run on a Slurm site: the job script and the daemon's commands. Pure: values in, text out.

All of one batch stands in `.ap/submit/JOB_NAME/`, relative to the root:

    job.sh  tasks.tsv   the script, and array index → folder of the task try.N/              made by
    mkdir: who makes it may call sbatch, once; its out, err and rc gate                a symbolic
    link, made once ever: `begun.JOBID` by the first array element that runs,
                        or `void` by a daemon that gives the submission up. Who comes second stands
                        back.
    slurm-INDEX.out     what Slurm itself says of an element

The gate is what makes a submission exactly one, whatever is lost or late: no time limit has to hold
for that.
"""

import re
import shlex
from collections.abc import Iterator, Sequence

from mlip_autopipec.config.schemas.schedulers import SlurmQueue
from mlip_autopipec.contract.tasks import Resources
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.framing import TELL
from mlip_autopipec.schedulers.slurm_text import LIFE_MARK, SACCT_FORMAT, SQUEUE_FORMAT

#: What the gate says: the id of the array follows the first.
BEGUN = "begun."
VOID = "void"
#: A task is asked to write what it has this long before its walltime; Slurm may ask 60 s earlier
#: than that.
SIGNAL_LEAD_S = 120
#: Shorter tasks are not asked ahead: they would stop as they begin. SIGTERM at the end still
#: reaches them.
SIGNAL_FROM_S = 600
#: No command of Slurm may take longer, beyond sbatch; sites set MessageTimeout up to 100 s.
COMMAND_TIMEOUT_S = 110


def render_tasks(tasks: Sequence[Task]) -> str:
    """tasks.tsv: one line per array element, its index and its task's folder."""
    return "".join(f"{index}\t{task.workdir}\n" for index, task in enumerate(tasks))


def render_job(
    job_name: str,
    tasks: Sequence[Task],
    options: SlurmQueue,
    *,
    root: str,
    folder: str,
    python: str,
    payload: str,
    exclude: Sequence[str] = (),
) -> str:
    """job.sh: an array with one element per task, on no node in `exclude`.

    All tasks ask for the same resources.
    """
    values = {
        "root": root,
        "uid": job_name,
        "submit": f"{root}/{folder}",
        "python": python,
        "payload": f"{root}/{payload}",
    }
    lines = [
        "#!/bin/bash -l",  # as a login, so that the prologue finds `module`
        *(
            f"#SBATCH {line}"
            for line in _directives(job_name, tasks, options, root=root, folder=folder)
        ),
        *options.extra,
        *_exclusion(options, exclude),
        "",
        *(f"{name}={shlex.quote(value)}" for name, value in values.items()),
        _GUARD,
        *(["# The site's own preparations:", *options.prologue] if options.prologue else []),
        _WORK,
    ]
    return "\n".join(lines)


def render_trial(asked: Resources, options: SlurmQueue, *, root: str) -> str:
    """A script for `sbatch --test-only`: it asks for what a phase's tasks do, and does nothing."""
    arguments = (f"--chdir={_quoted(root)}", "--output=/dev/null", *_asked(asked, options))
    return "\n".join(
        ["#!/bin/bash", *(f"#SBATCH {word}" for word in arguments), *options.extra, "true", ""]
    )


_EXCLUSION = re.compile(r"(?:--exclude(?:=|\s+)|-x\s*)(\S+)")


def _exclusion(options: SlurmQueue, exclude: Sequence[str]) -> Iterator[str]:
    """Of two --exclude the last counts, so the site file's own nodes are named again."""
    if exclude:
        own = [nodes for line in options.extra for nodes in _EXCLUSION.findall(line)]
        yield f"#SBATCH --exclude={','.join((*own, *exclude))}"


def _directives(
    job_name: str, tasks: Sequence[Task], options: SlurmQueue, *, root: str, folder: str
) -> Iterator[str]:
    asked = tasks[0].resources
    yield f"--job-name={job_name}"
    # An array waits for the controller's next round, of a second or more; a job alone may begin at
    # once.
    if len(tasks) > 1:
        yield f"--array=0-{len(tasks) - 1}"
    # The claim and the gate let a job go on only as itself, so Slurm may restart it after a node
    # failure or preemption.
    yield "--requeue" if options.requeue else "--no-requeue"
    yield "--open-mode=append"
    output = f"{root}/{folder}/slurm-".replace("%", "%%") + (
        "%a.out" if len(tasks) > 1 else "0.out"
    )
    yield f"--output={_quoted(output)}"
    yield f"--chdir={_quoted(root)}"
    # SUBMIT has cleared it. With NONE, slurmd would run a login shell before each element, which
    # takes several times as long as a short task; the script is one already.
    yield "--export=ALL"
    yield from _asked(asked, options)
    if asked.walltime_s >= SIGNAL_FROM_S:
        yield f"--signal=B:USR1@{SIGNAL_LEAD_S}"


def _asked(asked: Resources, options: SlurmQueue) -> Iterator[str]:
    """What Slurm may refuse."""
    yield from _resources(asked, ask_memory=options.ask_memory)
    chosen = {
        name: getattr(options, name) for name in ("partition", "account", "qos", "constraint")
    }
    yield from (f"--{name}={_quoted(value)}" for name, value in chosen.items() if value is not None)


def _resources(asked: Resources, *, ask_memory: bool) -> Iterator[str]:
    yield f"--nodes={asked.nodes}"
    yield f"--ntasks={asked.ranks}"
    yield f"--cpus-per-task={asked.cores}"
    if asked.gpus:
        yield f"--gpus-per-node={asked.gpus}"
    if ask_memory:
        yield f"--mem={asked.memory_mib}M"
    yield f"--time={-(-asked.walltime_s // 60)}"  # in minutes, Slurm's own unit: rounded up


def _quoted(value: str) -> str:
    """A word for a #SBATCH line, whose quotes are like a shell's."""
    plain = all(letter.isalnum() or letter in "_@%+=:,./-&|*()[]" for letter in value)
    return value if plain else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


_GUARD = f"""
index=${{SLURM_ARRAY_TASK_ID:-0}} # a batch of one task is no array
me={BEGUN}${{SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}}
echo "{LIFE_MARK} ${{SLURM_RESTART_COUNT:-0}} of job $SLURM_JOB_ID, element $index, on $SLURMD_NODENAME"

# Whoever makes the gate decides, once for ever, whether this batch runs and as which job.
# It is read first: all elements but one find it made, and what is there never changes.
gate=$(readlink "$submit/gate") || {{
  ls "$submit" >/dev/null # network file systems look again
  ln -sn "$me" "$submit/gate" 2>/dev/null
  gate=$(readlink "$submit/gate") || {{ echo "$submit/gate can be neither made nor read"; exit 75; }}
}}
[ "$gate" = "$me" ] || {{ echo "the gate says $gate, so there is nothing to do here"; exit 0; }}

mapfile -t -s "$index" -n 1 line <"$submit/tasks.tsv" # a process less than awk
workdir=${{line#$index$'\\t'}}
[ -n "$workdir" ] && [ "$workdir" != "$line" ] || {{ echo "no folder for element $index"; exit 75; }}
export SRUN_CPUS_PER_TASK=${{SLURM_CPUS_PER_TASK:-1}} # which srun itself forgets from 22.05 on
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${{SLURM_CPUS_PER_TASK:-1}}
export OPENBLAS_NUM_THREADS=$OMP_NUM_THREADS MKL_NUM_THREADS=$OMP_NUM_THREADS
"""  # noqa: E501 - text for another program

_WORK = """
cd "$root" || exit 75
out=$workdir/job-$uid.out
if [ -L "$out" ] || { [ -e "$out" ] && [ ! -f "$out" ]; }; then # somebody else's: a pipe would be waited for
  echo "$out is no file; what the task says stands here"
else
  true >>"$out" || exit 74
  exec >>"$out" 2>&1
fi
# The task runs in the background: a shell that waits hands signals on at once. Its wait is then over
# with the signal's number, so it waits again, also for a task that has ended meanwhile.
trap 'told=1; kill -USR1 $child' USR1
trap 'told=1; kill -TERM $child' TERM
"$python" "$payload" task --root "$root" --workdir "$workdir" --uid "$uid" --index "$index" &
child=$!
while
  told=
  wait $child
  status=$?
  [ -n "$told" ]
do :; done
exit $status
"""  # noqa: E501 - text for another program

# --- the daemon's commands: for framing.SHELL with ARGUMENTS in the root --------------------------

#: Frames the output of each command (see framing), bounds its time, and ignores the user's own
#: settings of Slurm.
_PRELUDE = f"""
for name in $(env | sed -n 's/^\\(S\\(LURM\\|BATCH\\|QUEUE\\|ACCT\\|CANCEL\\)_[A-Za-z0-9_]*\\)=.*/\\1/p'); do
  [ $name = SLURM_CONF ] || unset $name
done
export LC_ALL=C TZ=UTC SLURM_BITSTR_LEN=0
user=$(id -un)
{TELL}
tail_of() {{ [ -f "$2" ] && [ ! -L "$2" ] && tail -c "$1" "$2" | tr -d '\\000'; }} # no pipe, no device
bounded() {{ timeout -k 5 {COMMAND_TIMEOUT_S} "$@"; }}
# With its heading, by which squeue's own answer is known from a notice of the site alone.
queue() {{ bounded squeue --states=all --user="$user" --name="$1" --format='{SQUEUE_FORMAT}'; }}
accounts() {{ # of one name, from an hour before it was first handed over: clocks differ
  since=$(date -d "@$(($(stat -c %Y try.0) - 3600))" +%Y-%m-%dT%H:%M:%S) || return
  bounded sacct -X -P -n --user="$user" --name="$1" --starttime="$since" --format='{SACCT_FORMAT}'
}}
last_try() {{ ls | sed -n 's/^try\\.//p' | sort -n | tail -n 1; }}
report() {{
  tell gate readlink gate
  tell try echo "$last"
  tell rc cat "try.$last/rc"
  tell out head -c 4096 "try.$last/out"
  tell err head -c 8192 "try.$last/err"
}}
"""  # noqa: E501 - text for another program

#: FOLDER AFTER TURNS: begin a try if AFTER is the last one (`none`: there is none), wait for its
#: answer, and report. sbatch is in a session of its own, for it may take minutes, and its answer
#: must outlive this connection. Its jobs inherit its environment: of the session's it keeps no more
#: than who the user is and how Slurm is reached.
SUBMIT = (
    _PRELUDE
    + r"""
cd "$1" || exit 1
last=$(last_try)
begun=no
if [ "${last:-none}" = "$2" ] && [ ! -L gate ]; then
  last=$((${last:--1} + 1))
  if mkdir "try.$last"; then
    begun=yes
    setsid nohup sh -c '
      env -i USER="$2" LOGNAME="$2" PATH="$PATH" ${HOME+"HOME=$HOME"} ${SHELL+"SHELL=$SHELL"} \
        ${SLURM_CONF+"SLURM_CONF=$SLURM_CONF"} ${KRB5CCNAME+"KRB5CCNAME=$KRB5CCNAME"} \
        sbatch --parsable job.sh >"$1/out" 2>"$1/err"
      echo $? >"$1/.rc" && mv "$1/.rc" "$1/rc"
    ' sh "try.$last" "$user" </dev/null >/dev/null 2>&1 &
  fi
  [ -d "try.$last" ] || exit 1
fi
turns=0
while [ -n "$last" ] && [ ! -e "try.$last/rc" ] && [ ! -L gate ] && [ $turns -lt "$3" ]; do
  turns=$((turns + 1))
  if [ $turns -lt 100 ]; then sleep 0.01; else sleep 0.2; fi
done
tell begun echo $begun
report
"""
)

#: FOLDER JOB_NAME: everything that can tell where a submission is.
LOCATE = (
    _PRELUDE
    + r"""
mkdir -p "$1" && cd "$1" || exit 1
last=$(last_try)
report
[ -n "$last" ] || exit 0
tell squeue queue "$2"
command -v sacct >/dev/null && tell sacct accounts "$2"
config() { bounded scontrol show config | grep '^MessageTimeout'; }
tell config config
"""
)

#: FOLDER: give the submission up, unless its job has begun.
CLOSE = (
    _PRELUDE
    + f"""
cd "$1" || exit 1
ln -sn {VOID} gate 2>/dev/null
tell gate readlink gate
"""
)

#: JOB_NAMES, by commas: the one look at all batches.
SIGHT = _PRELUDE + 'tell squeue queue "$1"\n'

#: FOLDER JOB_NAME INDEX TAIL: everything that can tell how an element ended, with the last TAIL
#: bytes of its outputs.
AUTOPSY = (
    _PRELUDE
    + r"""
root=$PWD
cd "$1" || exit 1
tell squeue queue "$2"
command -v sacct >/dev/null && tell sacct accounts "$2"
workdir=$(awk -F '\t' -v wanted="$3" '$1 == wanted { print $2 }' tasks.tsv)
job=$(readlink gate)
job=${job#begun.}
[ "$(wc -l <tasks.tsv)" -eq 1 ] || job="${job}_$3"
[ ! -L gate ] || tell record bounded scontrol show job "$job"
case $(ls -a "$root/$workdir" 2>/dev/null) in # network file systems look again
  *"claim.$2"*) tell claimed echo yes ;;
  *) tell claimed echo no ;;
esac
disk() { # whether the task's folder can be written to now
  rm -f "$root/$workdir/.writable"
  bounded dd if=/dev/zero of="$root/$workdir/.writable" bs=4096 count=1 conv=excl,fsync 2>&1
  written=$?
  rm -f "$root/$workdir/.writable"
  return $written
}
tell disk disk
tell slurm tail_of "$4" "slurm-$3.out"
tell job tail_of "$4" "$root/$workdir/job-$2.out"
"""
)

#: FOLDER JOB_NAME INDEX: count an element as over for good. What of it still runs or comes late, as
#: on a node that was called lost, leaves nothing (see the work half's `task` command).
SEAL = (
    _PRELUDE
    + r"""
workdir=$(awk -F '\t' -v wanted="$3" '$1 == wanted { print $2 }' "$1/tasks.tsv")
[ -n "$workdir" ] && mkdir -p "$workdir/claim.$2" && : >"$workdir/claim.$2/over"
"""
)

#: All of the user's jobs that are in the queue, whatever their names.
ROLL = (
    _PRELUDE
    + f"""
roll() {{ bounded squeue --user="$user" --format='{SQUEUE_FORMAT}'; }}
tell squeue roll
"""
)

#: The partitions that this user may name, one a line.
PARTITIONS = _PRELUDE + "tell partitions bounded sinfo --noheader --format=%R\n"

#: JOB_NAME ELEMENTS: end a batch, or those of its elements that are named, as JOBID_INDEX.
CANCEL = _PRELUDE + 'name=$1\nshift\nbounded scancel --quiet --user="$user" --name="$name" "$@"\n'
