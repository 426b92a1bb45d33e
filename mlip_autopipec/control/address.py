"""Where a campaign's control socket is: the same path for the daemon and everyone who asks it."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path

from mlip_autopipec.errors import OperatorError

#: sockaddr_un holds 108 bytes with the closing NUL; some are left for the tools that add their own.
PATH_BYTES_MAX = 100


def socket_path(folder: Path) -> Path:
    """The control socket of the campaign whose files are in `folder`. Touches nothing.

    `<folder>/control/socket`; where that is longer than a socket's address may be, a name made of
    the folder's hash under the temporary folder of this user.
    """
    folder = folder.resolve()
    path = folder / "control" / "socket"
    if len(os.fsencode(path)) <= PATH_BYTES_MAX:
        return path
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"autopipec-{os.geteuid()}" / f"{name}.sock"


def make_private(folder: Path) -> None:
    """Make the folder of a socket, open to its owner only.

    Raises OperatorError if it is another's.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_own(folder)
    folder.chmod(0o700)


def require_own(folder: Path) -> None:
    """Raise OperatorError unless `folder` is a real folder of this user (root may use everyone's).

    Under the temporary folder anyone could have made it first, with a socket of his own inside.
    """
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode):
        raise OperatorError(
            f"{folder} is not a folder; the control socket cannot be there. Remove it."
        )
    uid = os.geteuid()
    if uid not in {0, facts.st_uid}:
        raise OperatorError(
            f"{folder} belongs to uid {facts.st_uid}, not to you (uid {uid}): it is not trusted."
        )
