"""ACE potentials by python-ace: a B-basis with its active set, and its C-tilde form for MD."""

from mlip_autopipec.contract.evaluator import EvaluatorCode, PotentialFile

EVALUATOR = EvaluatorCode(
    package=__name__,
    potential="an ACE potential",
    files=(
        PotentialFile(
            "yaml",
            "potential.yaml",
            "the same with γ, together with the active set; without the reference energies",
        ),
        PotentialFile("asi", "potential.asi", "the active set of potential.yaml"),
        PotentialFile(
            "yace",
            "potential.yace",
            "the potential for MD: total energies, the reference energies are in it",
            graded=False,
        ),
    ),
    rules=".rules:PyaceRules",
    load=".run:load",
    write=".run:write",
    complete=".run:complete",
    design=".run:design",
    rank=".run:rank",
    judge=".given:judge",
    examine=".doctor:examine",
    about="gamma",
    remedy=(
        "python-ace does not work as it must in site.python: install the version in constraints.txt"
    ),
)
