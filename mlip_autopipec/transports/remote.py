"""What is run on the far side, as text, and what comes back: pure.

The far side needs a POSIX sh, GNU coreutils, findutils and tar, which every Linux cluster has;
nothing of ours.

A command is one line for the user's login shell, whatever shell that is: `timeout` bounds it and
takes its whole process group down, and one `sh` runs a script in it. The script frames its output:
a nonce on both streams when it begins, so that greetings of the login shell are told apart, and the
nonce with the exit status when it ends, so that a cut connection is never taken for an end.
"""

import hashlib
import io
import math
import re
import shlex
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from mlip_autopipec.errors import (
    AutopipecError,
    BugError,
    FileUnusable,
    NameTaken,
    OperatorError,
    TransientError,
)
from mlip_autopipec.ports import READ_BYTES_MAX, SMALL_FILE_BYTES_MAX, Completed

#: Between SIGTERM and SIGKILL on the far side.
_KILL_AFTER_S = 5
#: What is not the same in the single quotes of every login shell: csh takes the first three, fish
#: the others.
_UNSAFE = re.compile(r"[!\n\r]|\\[\\']")
#: What is written in octal then: those, what printf takes for itself, and what would end the
#: quotes.
_CODED = re.compile(r"[!\n\r\\']")
#: Linux takes no longer word than 128 KiB, and the far side's login shell gets the command as one.
_COMMAND_BYTES_MAX = 120_000
_TEXT_MAX = 500  # characters of an error message

_BEGIN = '{ printf "%s\\n" "$0"; printf "%s\\n" "$0" >&2; }'
_END = 'printf "\\n%s %d\\n" "$0" "$?"'
_ENTER = 'cd -- "$1" && shift'

#: Up to so many files are synced one by one; for more, the whole file system at once is quicker (a
#: disk takes some milliseconds for each), but waits for other people's data as well.
_SYNCED_ALONE_MAX = 16

#: Unpack into a folder of this call's own, on the same file system, and compare what landed there
#: with its sums.
_UNPACK = (
    'export LC_ALL=C n="$0" r="$PWD" t="$PWD/.ap/incoming/$0"; mkdir -p -- "$t"'
    " && trap 'rm -rf -- \"$t\"' EXIT && trap 'exit 1' HUP INT TERM"
    ' && tar -x -m --no-same-owner --no-same-permissions -C "$t" -f -'
    ' && cd -- "$t/new" && sha256sum --check --quiet ../sums >&2'
)
# Hard links are made, each at once in place of an older file, by one process for all. Where that
# cannot be (a folder is a link, perhaps into another file system, or there are no hard links), each
# file is copied beside its target first.
_LOCATION = (
    '{ cp -r -l -f -T -- . "$r" 2>/dev/null'
    ' || { find . -type d -exec sh -c \'cd -- "$r" && mkdir -p -- "$@"\' sh {} +'
    ' && find . -type f -exec sh -c \'for p do q="$r/${p%/*}/.${p##*/}.$n.tmp";'
    ' cp -- "$p" "$q" && sync "$q" && mv -f -T -- "$q" "$r/$p" || exit 1; done\' sh {} +; }; }'
)
_SYNC_FILES = "find . -type f -exec sync {} +"
_SYNC_FOLDERS = 'cd -- "$r" && sync -- "$@"'
_SYNC_ALL = "sync -f ."

_RUN = 'exec "$@"'
# Opened as a file, a pipe is waited for, and a device never ends.
_READ = (
    'if [ -L "$1" ] || { [ -e "$1" ] && [ ! -f "$1" ]; };'
    ' then echo "$1: Not a regular file" >&2; exit 1; fi;'
    ' LC_ALL=C head -c "$2" -- "$1"'
)
# find leaves out what is too large or no regular file, and complains of what does not exist; the
# folder itself is for a list of nothing. tar follows no link either, and packs what was put in a
# file's place since as what it is. Its stream is cut where it is too much for one call; how tar has
# ended is told apart, since head ends well in any case.
_PACK = (
    '[ -e "$1" ] || exit 0; export LC_ALL=C; cd -- "$1"'
    ' && { printf "./\\0"; xargs -0 -r sh -c \'exec find -P "$@" -maxdepth 0 -type f -readable'
    f' -size -{SMALL_FILE_BYTES_MAX // 1024 + 1}k -printf "%p\\0"\' sh; }}'
    " | { tar -c --hard-dereference --format=gnu --no-recursion --null --no-unquote -T - -f -"
    ' || echo "AP-TAR $?" >&2; }'
    f" | head -c {READ_BYTES_MAX}"
)
_LIST = 'LC_ALL=C find "$1" -mindepth 1 -maxdepth 1 -printf "%f\\0"'

#: What these tools say, in the C locale, of files that do not exist, and of files replaced while
#: they were read, of which the earlier content was read whole.
_ABSENT = re.compile(
    r".*: (No such file or directory|File removed before we read it)|head: cannot open .* for"
    r" reading: Not a directory"
)
_BESIDE = re.compile(
    r"tar: (Exiting with failure status.*|Error is not recoverable.*|.*: file changed as we read"
    r" it)"
)
_TAR_STATUS = re.compile(rb"^AP-TAR (\d{1,3})\n", re.MULTILINE)
#: A name that is no file to be read, in `read_command`'s words and in head's.
_UNUSABLE = re.compile(
    r": (Not a regular file|Permission denied|Too many levels of symbolic links|File name too"
    r" long)$"
)
#: What does not pass by itself.
_REFUSED = re.compile(
    r": (Permission denied|Not a directory|Is a directory|File exists)\b|cannot overwrite ",
    re.ASCII,
)
#: Of those: something else has the name.
_TAKEN = re.compile(
    r": (Not a directory|Is a directory|File exists|Too many levels of symbolic links)\b|cannot"
    r" overwrite ",
    re.ASCII,
)


def run_command(
    root: str, argv: Sequence[str], *, nonce: str, timeout_s: float, prologue: str = ""
) -> str:
    """Run `argv` in the root folder. Without one, nothing is begun."""
    script = f"{_prepared(prologue)}{_ENTER} && {_framed(_RUN)}"
    return _bounded(script, nonce, (root, *argv), timeout_s)


def converse_command(root: str, argv: Sequence[str], *, nonce: str, prologue: str = "") -> str:
    """Start `argv` in the root folder for as long as its standard input is open.

    It must end with that.
    """
    script = f'{_prepared(prologue)}{_ENTER} && {_BEGIN} && exec "$@"'
    return _checked(f"exec {shlex.join(('sh', '-c', script, nonce, root, *argv))}")


def write_command(root: str, files: Iterable[str], *, nonce: str, timeout_s: float) -> str:
    """Take `packed` files from standard input, check and sync them, and put them in place."""
    paths = list(files)
    alone = len(paths) <= _SYNCED_ALONE_MAX
    sync, sync_after = (_SYNC_FILES, _SYNC_FOLDERS) if alone else (_SYNC_ALL, _SYNC_ALL)
    folders = (
        sorted({_relative(str(PurePosixPath(path).parent)) for path in paths}) if alone else []
    )
    body = f"{_UNPACK} && {sync} && {_LOCATION} && {sync_after}"
    script = f'mkdir -p -- "$1" && {_ENTER} && {_framed(body)}'
    return _bounded(script, nonce, (root, *folders), timeout_s)


def read_command(root: str, path: str, *, size_max: int, nonce: str, timeout_s: float) -> str:
    """The content of one file, up to one byte more than `size_max`."""
    return _bounded(
        _framed(_READ), nonce, (f"{root}/{_relative(path)}", str(size_max + 1)), timeout_s
    )


def read_many_command(root: str, *, nonce: str, timeout_s: float) -> str:
    """The files that `listed` names on standard input, as a tar stream."""
    return _bounded(_framed(_PACK), nonce, (root,), timeout_s)


def names_command(root: str, folder: str, *, nonce: str, timeout_s: float) -> str:
    """The names in a folder, each ended by NUL."""
    return _bounded(_framed(_LIST), nonce, (f"{root}/{_relative(folder)}/.",), timeout_s)


def far_root(root: str) -> str:
    """The root as the scripts take it.

    SSH begins in the user's home, to which a relative path belongs.
    """
    if root in {"", "~"}:
        return "."
    relative = root.removeprefix("~/")
    return relative if relative.startswith("/") else f"./{relative}"


def completed(nonce: str, stdout: bytes, stderr: bytes) -> Completed | None:
    """What a framed command said, without its frame; None if its end did not come through."""
    mark = nonce.encode()
    _, begun, rest = stdout.partition(mark + b"\n")
    # what follows, the login shell has said
    end = re.search(rb"\n%s (\d+)\n" % mark, rest) if begun else None
    if end is None:
        return None
    _, begun, message = stderr.partition(mark + b"\n")
    return Completed(int(end[1]), rest[: end.start()], message if begun else stderr)


def is_there(answer: Completed, what: str) -> bool:
    """Whether a reading command found all that it was to read; False if some of it does not exist.

    Raises `complaint` for anything else that it says: nothing is known then.
    """
    lines = answer.stderr.decode("utf-8", "replace").splitlines()
    missing = any(_ABSENT.fullmatch(line) for line in lines)
    known = all(_ABSENT.fullmatch(line) or _BESIDE.fullmatch(line) for line in lines)
    if answer.exit_status and not (lines and known):
        raise complaint(answer, what)
    return not missing


def check_usable(answer: Completed, what: str) -> None:
    """Raise FileUnusable if the file that `read_command` was to read is none."""
    lines = answer.stderr.decode("utf-8", "replace").splitlines()
    if answer.exit_status and len(lines) == 1 and _UNUSABLE.search(lines[0]):
        raise FileUnusable(f"{what}: it is no regular file that can be read: {lines[0]}")


def complaint(answer: Completed, what: str) -> AutopipecError:
    """A far side's refusal, sorted by who must act: a full disk passes, missing rights do not."""
    message = last_lines(answer.stderr) or f"exit status {answer.exit_status}"
    return (OperatorError if _REFUSED.search(message) else TransientError)(f"{what}: {message}")


def complaint_of_write(answer: Completed, what: str) -> AutopipecError:
    """The same, where a name that something else has is told apart."""
    message = last_lines(answer.stderr)
    return NameTaken(f"{what}: {message}") if _TAKEN.search(message) else complaint(answer, what)


def last_lines(stderr: bytes) -> str:
    """The end of what was said, for a message."""
    return stderr.decode("utf-8", "replace").strip()[-_TEXT_MAX:]


def packed(files: Mapping[str, bytes]) -> bytes:
    """A tar stream, all files' checksums first, so that a stream cut short anywhere is noticed."""
    sums = "".join(_sum_line(_relative(path), content) for path, content in files.items())
    stream = io.BytesIO()
    with tarfile.open(
        fileobj=stream, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8"
    ) as archive:
        for name, content in (
            ("sums", sums.encode()),
            *((f"new/{_relative(path)}", files[path]) for path in files),
        ):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o666
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def listed(paths: Iterable[str]) -> bytes:
    """Paths as `read_many_command` takes them."""
    return b"".join(f"{_relative(path)}\0".encode("utf-8", "surrogateescape") for path in paths)


def unpacked(stream: bytes, paths: Iterable[str]) -> dict[str, bytes]:
    """A tar stream's files by the paths asked for. Raises TransientError if the stream is damaged.

    One that was cut where it is too much for one call holds as many as came whole.
    """
    asked = {_relative(path): path for path in paths}
    contents: dict[str, bytes] = {}
    if not stream:
        return contents
    try:
        with tarfile.open(fileobj=io.BytesIO(stream), mode="r:", encoding="utf-8") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() else None
                if content is not None:
                    contents[asked[f"./{PurePosixPath(member.name)}"]] = content.read()
    except (tarfile.TarError, KeyError) as error:
        if len(stream) < READ_BYTES_MAX or isinstance(error, KeyError):
            raise TransientError(f"a damaged tar stream came back: {error!r}") from error
    return contents


def check_packed(answer: Completed, what: str) -> None:
    """Raise `complaint` if `read_many_command` read less than is there, up to one call's most."""
    if len(answer.stdout) >= READ_BYTES_MAX:
        return  # what was cut off has ended tar
    found = _TAR_STATUS.search(answer.stderr)
    status = answer.exit_status or (int(found[1]) if found else 0)
    is_there(Completed(status, b"", _TAR_STATUS.sub(b"", answer.stderr)), what)


def _framed(body: str) -> str:
    return f"{{ {_BEGIN}; ( {body} ); {_END}; }}"


def _prepared(prologue: str) -> str:
    return f"{prologue}; " if prologue else ""


def _bounded(script: str, nonce: str, arguments: Sequence[str], timeout_s: float) -> str:
    bound = str(max(1, math.ceil(timeout_s)))
    argv = ("timeout", "-k", str(_KILL_AFTER_S), bound, "sh", "-c", script, nonce, *arguments)
    return _checked(f"exec {shlex.join(argv)}")


def _checked(command: str) -> str:
    """Fit for any login shell, and for Linux. Raises BugError if it cannot be."""
    if _UNSAFE.search(command):
        safe = _CODED.sub(lambda found: f"\\0{ord(found[0]):03o}", command)
        command = f"exec sh -c 'eval \"$(printf %b \"$0\")\"' '{safe}'"
    if (size := len(command.encode())) > _COMMAND_BYTES_MAX:
        raise BugError(
            f"a command of {size} bytes is too long for one line; its data belong on standard input"
        )
    if "\0" in command:
        raise BugError("no word of a command may hold a NUL")
    return command


def _relative(path: str) -> str:
    """A path below the root, so written that nothing takes it for an option.

    Raises BugError for any other.
    """
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or "\0" in path:
        raise BugError(f"{path!r} is no path below the site's root")
    return f"./{parts}"


def _sum_line(path: str, content: bytes) -> str:
    """As `sha256sum --check` reads it, which escapes what would break a line."""
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == path else chr(92)}{hashlib.sha256(content).hexdigest()}  {escaped}\n"
