"""The aluminium campaign of config/lab.yaml, moved to a lab that runs."""

from pathlib import Path

from kit.files import LAB_YAML

#: Where the file takes the lab to be.
WRITTEN_LAB = "/var/tmp/autopipec-lab"  # noqa: S108 - a name in a file, not a file


def aluminium_site(
    lab: dict[str, str], root: Path, folder: Path, *changes: tuple[str, str]
) -> Path:
    """The site file in `folder`, with its jobs under `root` and its journal in `folder`/campaign.

    `changes` replace old texts, of which the file has exactly one each, by new ones.
    """
    text = LAB_YAML.read_text(encoding="utf-8")
    moves = (
        ("../campaigns/aluminium", str(folder / "campaign")),
        (f"{WRITTEN_LAB}/home/aluminium", str(root)),
        *changes,
    )
    for old, new in moves:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = folder / "site.yaml"
    path.write_text(text.replace(WRITTEN_LAB, lab["AUTOPIPEC_LAB"]), encoding="utf-8")
    return path
