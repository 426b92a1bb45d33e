"""What is run on the far side and what comes back, as text."""

import io
import shlex
import subprocess
import tarfile

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


def test_a_command_that_never_began_has_no_answer() -> None:
    """An end without a beginning is none."""
    assert remote.completed(NONCE, f"\n{NONCE} 0\n".encode(), b"timeout: command not found\n") is None


@pytest.mark.parametrize(
    ("stderr", "there"),
    [
        (b"head: cannot open '/r/a' for reading: No such file or directory\n", False),
        ("find: ‘/r/./outbox/.’: No such file or directory\n".encode(), False),
        (
            b"tar: a: Cannot stat: No such file or directory\ntar: Exiting with failure status due to previous errors",
            False,
        ),
        (
            b"tar: /r: Cannot open: No such file or directory\ntar: Error is not recoverable: exiting now\n",
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
            b"tar: ./a: Cannot stat: No such file or directory\ntar: ./b: Read error: Input/output error\n",
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


@given(files=st.dictionaries(st.text("ab/ '\\\n\r-é", min_size=1, max_size=8), st.binary(max_size=50), max_size=5))
def test_a_packed_stream_holds_files_and_their_sums(files: dict[str, bytes]) -> None:
    """Sums come first, so that a file which is missing at the end is missed."""
    files = {path: content for path, content in files.items() if not path.startswith("/")}
    with tarfile.open(fileobj=io.BytesIO(remote.packed(files))) as archive:
        members = archive.getmembers()
        assert members[0].name == "sums"
        assert len(members) == len(files) + 1
        contents = [found.read() for member in members[1:] if (found := archive.extractfile(member))]
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
    """For csh no exclamation mark and no newline, for fish no backslash before a backslash or a quote."""
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
    many = remote.write_command("/r", [f"a/{number}" for number in range(100)], nonce=NONCE, timeout_s=1)
    assert "sync -f" not in few
    assert shlex.split(few)[-2:] == ["./a", "./b"]
    assert "sync -f" in many
    assert shlex.split(many)[-1] == "/r"
