"""What is run on the far side and what comes back, as text."""

import io
import os
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlip_autopipec.errors import BugError, OperatorError, TransientError
from mlip_autopipec.ports import Completed
from mlip_autopipec.transports import remote

NONCE = "ap-0123456789abcdef"


@given(output=st.binary(max_size=200), noise=st.binary(max_size=50), status=st.integers(0, 255))
def test_an_answer_is_what_stands_in_its_frame(output: bytes, noise: bytes, status: int) -> None:
    """Whatever it holds, and whatever a login shell said before it."""
    stdout = noise + f"{NONCE}\n".encode() + output + f"\n{NONCE} {status}\n".encode()
    stderr = noise + f"{NONCE}\n".encode() + output
    assert remote.completed(NONCE, stdout, stderr) == Completed(status, output, output)


@given(output=st.binary(max_size=40), data=st.data())
def test_an_answer_cut_short_anywhere_is_none(output: bytes, data: st.DataObject) -> None:
    """Also within its last line, and though the command may have ended well."""
    stdout = f"{NONCE}\n".encode() + output + f"\n{NONCE} 0\n".encode()
    cut = data.draw(st.integers(0, len(stdout) - 1))
    assert remote.completed(NONCE, stdout[:cut], b"") is None


def test_what_the_login_shell_says_at_its_end_is_no_part_of_an_answer() -> None:
    """As a profile's exit trap does."""
    answer = remote.completed("ap-1", b"hello\nap-1\nfound\n\nap-1 0\nlogout\n", b"")
    assert answer == Completed(0, b"found\n", b"")


def test_a_command_that_never_began_has_no_answer() -> None:
    """An end without a beginning is none."""
    assert (
        remote.completed(NONCE, f"\n{NONCE} 0\n".encode(), b"timeout: command not found\n") is None
    )


@pytest.mark.parametrize(
    ("stderr", "there"),
    [
        (b"head: cannot open '/r/a' for reading: No such file or directory\n", False),
        ("find: ‘/r/./outbox/.’: No such file or directory\n".encode(), False),
        (
            (
                b"tar: a: Cannot stat: No such file or directory\ntar: Exiting with failure status"
                b" due to previous errors"
            ),
            False,
        ),
        (
            (
                b"tar: /r: Cannot open: No such file or directory\ntar: Error is not recoverable:"
                b" exiting now\n"
            ),
            False,
        ),
        (b"tar: ./a: File removed before we read it\n", False),
        (b"tar: ./a: file changed as we read it\n", True),
    ],
)
def test_what_does_not_exist_is_told_from_what_was_read(stderr: bytes, *, there: bool) -> None:
    """By the words of the tools themselves, as recorded from them."""
    assert remote.is_there(Completed(1, b"", stderr), "read") is there


@pytest.mark.parametrize(
    ("stderr", "kind"),
    [
        (b"head: error reading '/r/a': Input/output error\n", TransientError),
        (b"head: cannot open '/r/a' for reading: Stale file handle\n", TransientError),
        (b"tar: ./a: File shrank by 3 bytes; padding with zeros\n", TransientError),
        (
            (
                b"tar: ./a: Cannot stat: No such file or directory\ntar: ./b: Read error:"
                b" Input/output error\n"
            ),
            TransientError,
        ),
        (b"mkdir: cannot create directory '/r': No space left on device\n", TransientError),
        (b"tar: new/a: Wrote only 512 of 10240 bytes\n", TransientError),
        (b"tar: new: Cannot mkdir: Disk quota exceeded\n", TransientError),
        (b"./a: FAILED\nsha256sum: WARNING: 1 computed checksum did NOT match\n", TransientError),
        (b"", TransientError),
        (b"head: cannot open '/r/a' for reading: Permission denied\n", OperatorError),
        (b"head: error reading '/r/a': Is a directory\n", OperatorError),
        ("find: ‘/r/./outbox/.’: Not a directory\n".encode(), OperatorError),
        ("mkdir: cannot create directory ‘/r’: File exists\n".encode(), OperatorError),
        (b"mv: cannot overwrite directory '/r/./a' with non-directory\n", OperatorError),
    ],
)
def test_complaints_are_sorted_by_who_must_act(stderr: bytes, kind: type[Exception]) -> None:
    """No complaint is ever taken for a file that does not exist."""
    with pytest.raises(kind, match=r"^read: ") as caught:
        remote.is_there(Completed(1, b"", stderr), "read")
    assert type(caught.value) is kind


@given(
    files=st.dictionaries(
        st.text("ab/ '\\\n\r-é", min_size=1, max_size=8), st.binary(max_size=50), max_size=5
    )
)
def test_a_packed_stream_holds_files_and_their_sums(files: dict[str, bytes]) -> None:
    """Sums come first, so that a file which is missing at the end is missed."""
    files = {path: content for path, content in files.items() if not path.startswith("/")}
    with tarfile.open(fileobj=io.BytesIO(remote.packed(files))) as archive:
        members = archive.getmembers()
        assert members[0].name == "sums"
        assert len(members) == len(files) + 1
        contents = [
            found.read() for member in members[1:] if (found := archive.extractfile(member))
        ]
    assert contents == list(files.values())


def test_a_damaged_stream_is_no_answer() -> None:
    """Nor is one that holds what was not asked for."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("./a"))
    assert remote.unpacked(stream.getvalue(), ["a", "b"]) == {"a": b""}
    with pytest.raises(TransientError):
        remote.unpacked(stream.getvalue(), ["b"])
    with pytest.raises(TransientError):
        remote.unpacked(b"no tar stream", ["a"])


def test_a_command_that_is_too_long_is_refused() -> None:
    """Linux would refuse it on the far side, in words that look like those of the command."""
    with pytest.raises(BugError, match="standard input"):
        remote.run_command("/r", ["echo", "x" * 130_000], nonce=NONCE, timeout_s=1)
    with pytest.raises(BugError, match="NUL"):
        remote.run_command("/r", ["echo", "\0"], nonce=NONCE, timeout_s=1)


@given(word=st.text("a '\"!\\\n\r$`%0\x01é", max_size=12))
def test_no_shell_is_given_what_it_takes_for_itself(word: str) -> None:
    """For csh no exclamation mark or newline, for fish no backslash before a backslash or quote."""
    command = remote.run_command("/", ["printf", "%s", word], nonce=NONCE, timeout_s=1)
    assert not {"!", "\n", "\r"} & set(command)
    assert "\\\\" not in command
    assert "\\'" not in command


@pytest.mark.parametrize("word", ["!", "new\nline", "\\\\", "\\'", "it's \\n %s \\0041"])
def test_words_come_through_what_hides_them_from_shells(word: str) -> None:
    """Whatever had to be coded is the same again on the far side."""
    command = remote.run_command("/", ["printf", "%s", word], nonce=NONCE, timeout_s=9)
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=True)
    assert remote.completed(NONCE, done.stdout, done.stderr) == Completed(0, word.encode(), b"")


def test_few_files_are_synced_by_themselves_and_many_at_once() -> None:
    """A sync of the whole file system may wait for other people's data."""
    few = remote.write_command("/r", ["a/1", "b/2"], nonce=NONCE, timeout_s=1)
    many = remote.write_command(
        "/r", [f"a/{number}" for number in range(100)], nonce=NONCE, timeout_s=1
    )
    assert "sync -f" not in few
    assert shlex.split(few)[-2:] == ["./a", "./b"]
    assert "sync -f" in many
    assert shlex.split(many)[-1] == "/r"


def write_here(root: Path, files: dict[str, bytes], stream: bytes) -> Completed:
    """Run what would be run on the far side, on this one."""
    command = remote.write_command(str(root), files, nonce=NONCE, timeout_s=20)
    done = subprocess.run(["sh", "-c", command], input=stream, capture_output=True, check=True)
    answer = remote.completed(NONCE, done.stdout, done.stderr)
    assert answer is not None
    return answer


def test_a_stream_that_is_cut_or_changed_places_nothing(tmp_path: Path) -> None:
    """Wherever it is cut, also between two files, where tar sees nothing wrong.

    What was unpacked is gone.
    """
    files = {"a": b"content of a", "folder/b": b"content of b"}
    stream = remote.packed(files)
    assert write_here(tmp_path, files, stream).exit_status == 0
    changed = {"a": b"another content", "folder/b": b"altogether another"}
    stream = remote.packed(changed)
    sound = stream.rstrip(b"\0")
    cuts = [stream[:size] for size in (*range(0, len(sound), 512), len(sound) - 1)]
    for damaged in (*cuts, stream.replace(b"altogether", b"ALTOGETHER")):
        assert write_here(tmp_path, changed, damaged).exit_status != 0
        assert {path: (tmp_path / path).read_bytes() for path in files} == files
        assert list((tmp_path / ".ap/incoming").iterdir()) == []


@pytest.mark.parametrize("cp_fails", [False, True])
def test_files_are_replaced_by_one_rename_each(tmp_path: Path, *, cp_fails: bool) -> None:
    """Whoever has the older one open keeps it whole; also where there are no hard links."""
    tools = tmp_path / "tools"
    tools.mkdir()
    if cp_fails:  # as on a file system without hard links
        cp = tools / "cp"
        cp.write_text(
            f'#!/bin/sh\ncase "$*" in *-l*) exit 1;; esac\nexec {shutil.which("cp")} "$@"\n'
        )
        cp.chmod(0o755)
    root = tmp_path / "root"
    first = {"a b/c": b"first", "a b/d": b"first", "e": b"first"}
    second = dict.fromkeys(first, b"second")
    assert write_here(root, first, remote.packed(first)).exit_status == 0
    with (root / "a b/c").open("rb") as kept:
        command = remote.write_command(str(root), second, nonce=NONCE, timeout_s=20)
        path = f"{tools}:{os.environ['PATH']}"
        subprocess.run(
            ["sh", "-c", command], input=remote.packed(second), env={"PATH": path}, check=True
        )
        assert kept.read() == b"first"
    assert {name: (root / name).read_bytes() for name in first} == second
    assert sorted(path.name for path in root.rglob("*")) == [
        ".ap",
        "a b",
        "c",
        "d",
        "e",
        "incoming",
    ]
    assert {(root / name).stat().st_nlink for name in first} == {1}
