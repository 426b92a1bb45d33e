"""Mending by hand: a journal is made again beside the damaged one and takes its place when whole.

Killed anywhere, the journal is as before, or done. Nothing of it is touched until the new one is
complete and on the disk; then one rename gives that a name by which whoever opens the journal next
knows it, and brings the exchange to its end: the old journal gets the name by which it is kept, the
new one its place.
"""

import shutil
from pathlib import Path

from mlip_autopipec.errors import JournalDamaged
from mlip_autopipec.journal.durable import make_folder, sync_file, sync_folder
from mlip_autopipec.journal.replay import read
from mlip_autopipec.journal.segments import number_of

#: In the new journal's folder until it takes its place: what goes beside the journal.
STATE_FILE = "state.json"
_NOT_KEPT = "nothing"


def find_damage(folder: Path) -> JournalDamaged | None:
    """Where the journal cannot be trusted any more; None if it can.

    Raises StateUnreadable for a later version's.
    """
    try:
        for _ in read(folder):
            pass
    except JournalDamaged as damage:
        return damage
    return None


def begin_mending(folder: Path, damage: JournalDamaged | None) -> Path:
    """A folder beside the journal: a copy of what precedes the damage, else empty. Raises OSError.

    What an earlier try has left there is thrown away.
    """
    made = folder.with_name(f"{folder.name}.mending")
    if made.exists():
        shutil.rmtree(made)
    make_folder(made)
    if damage is not None:
        last = number_of(damage.path) or 0
        for path in sorted(folder.glob("journal-*.jsonl")):
            number = number_of(path)  # a person may have put a copy of one beside them
            if number is not None and (number < last or (path == damage.path and damage.offset)):
                shutil.copyfile(path, made / path.name)
        if damage.offset:
            with (made / damage.path.name).open("r+b") as file:
                file.truncate(damage.offset)
        for path in made.iterdir():
            sync_file(path)
    sync_folder(made)
    return made


def end_mending(folder: Path, made: Path, kept: Path | None) -> None:
    """Put the new journal in the place of the old, which is kept under another name.

    Raises OSError.
    """
    made.rename(folder.with_name(f"{_mended(folder)}{kept.name if kept else _NOT_KEPT}"))
    sync_folder(folder.parent)
    complete_mending(folder)


def complete_mending(folder: Path) -> None:
    """Complete an exchange of journals that was decided and then cut off, if any. Raises OSError.

    Whoever opens a journal calls it first, holding the campaign's lock.
    """
    for mended in folder.parent.glob(f"{_mended(folder)}*"):
        if (mended / STATE_FILE).exists():
            (mended / STATE_FILE).replace(folder.with_name(STATE_FILE))
        kept = folder.with_name(mended.name.removeprefix(_mended(folder)))
        if kept.name != _NOT_KEPT and folder.exists() and not kept.exists():
            folder.rename(kept)
        mended.rename(folder)
        sync_folder(folder.parent)


def _mended(folder: Path) -> str:
    return f"{folder.name}.mended."
