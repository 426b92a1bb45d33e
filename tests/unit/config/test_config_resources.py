"""Resources of a phase: what may stand together, and what each place can keep."""

from pathlib import Path

import pytest
from kit.site_files import mistakes, spoiled, write

from mlip_autopipec.config.loader import load_config

SLURM = "{kind: slurm}"
CASES = [
    (SLURM, "{nodes: 2}", "nodes  2 → expected no more than ranks (1)"),
    (SLURM, "{ranks: 4}", "ranks  4 → expected with a launcher"),
    (SLURM, "{ranks: 4, launcher: srun, nodes: 2, gpus: 1, partition: gpu}", None),
    (
        SLURM,
        "{extra: ['#SBATCH --partition=gpu']}",
        "extra[0]  '#SBATCH --partition=gpu' → expected as the key partition",
    ),
    *(
        (
            SLURM,
            f"{{extra: ['#SBATCH {option}']}}",
            f"expected another option than {option.split()[0]}: {why}",
        )
        for option, why in (
            ("--clusters=gpu", "the daemon would look for its jobs on another cluster"),
            ("--clus=gpu", "the daemon would look for its jobs on another cluster"),
            ("-Mgpu", "the daemon would look for its jobs on another cluster"),
            ("-M gpu", "the daemon would look for its jobs on another cluster"),
            ("--cluster-constraint=gpu", "the daemon would look for its jobs on another cluster"),
            ("--test-only", "nothing would ever be submitted"),
            ("--wait", "sbatch would not answer before the job has ended"),
            ("--hold", "no job would start before a person releases it"),
            ("--error=x", "what Slurm says of a job's end would not be found"),
        )
    ),
    *(
        (SLURM, f"{{extra: ['#SBATCH {option}']}}", message)
        for option, message in (
            ("-Ha1-9", "expected one option, and -Ha1-9 is several in one"),
            ("-sa1-9", "expected one option, and -sa1-9 is several in one"),
            ("-nJevil", "expected a number behind -n, found Jevil"),
            ("-p gpu -QJevil", "expected one option, and -QJevil is several in one"),
            (
                '-p gpu "--array=1-9"',
                "expected another option than --array=1-9: the program itself says it",
            ),
            (
                '--arr"ay"=1-9',
                "expected another option than --array=1-9: the program itself says it",
            ),
            ("--gres=gpu:1\u00a0", "expected one line such as '#SBATCH --gres=gpu:1'"),
            ("-ax", "expected another option than -ax: the program itself says it"),
        )
    ),
    (SLURM, "{extra: ['#SBATCH -n4 -t60 -Cfast --comment=\"a b\"', '#SBATCH -w n7 -N 2']}", None),
    (SLURM, '{partition: "gpu\\u0007"}', "without control characters"),
    (SLURM, '{account: "a\\u202eb"}', "without control characters"),
    (
        SLURM,
        "{extra: ['#SBATCH --exclude=n7', '#SBATCH --exclusive', '#SBATCH --hint=nomultithread']}",
        None,
    ),
    (SLURM, "{where: login}", None),
    (SLURM, "{where: login, cores: 2}", "cores  2 → expected no more than site.login_cores (1)"),
    (
        SLURM,
        "{where: login, gpus: 1}",
        "gpus  1 → expected only for Slurm jobs; here where is 'login'",
    ),
    (SLURM, "{where: logn}", "where  'logn' → "),
    (
        "{kind: local}",
        "{where: login}",
        "where  'login' → expected only with site.scheduler.kind 'slurm'",
    ),
    (
        "{kind: local}",
        "{account: a}",
        "account  'a' → expected only for Slurm jobs; here site.scheduler.kind is 'local'",
    ),
    ("{kind: local}", "{prologue: [module load mpich]}", None),
    (
        "{kind: local, cores: 4}",
        "{ranks: 3, cores: 2, launcher: 'mpirun -np {ranks}'}",
        (
            "ranks  3 → expected no more than site.scheduler.cores (4) in all, and 3 processes of 2"
            " are 6"
        ),
    ),
]


@pytest.mark.parametrize(("scheduler", "resources", "message"), CASES)
def test_what_contradicts_itself_is_refused(
    tmp_path: Path, scheduler: str, resources: str, message: str | None
) -> None:
    """By the key that is wrong, and with what was expected; what fits together is taken."""
    text = spoiled(
        ("{kind: local, cores: 2}", scheduler),
        (
            "    training:\n      cores: 2\n      memory: 4 GiB\n      walltime: 0-02:00:00\n",
            f"    training: {resources}\n",
        ),
    )
    if message is None:
        load_config(write(tmp_path, text))
        return
    (only,) = mistakes(tmp_path, text)
    assert "site.resources.training." in only
    assert message in only
