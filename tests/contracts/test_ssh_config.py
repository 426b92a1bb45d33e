"""~/.ssh/config as OpenSSH reads it.

Here is what `kind: ssh` makes of many configurations, beside the real client.
"""

import asyncio
import getpass
import os
import random
import socket
import subprocess
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kit.far_sites import over_asyncssh
from kit.sshd import FarMachine, far_machine, keygen
from kit.waiting import until

from mlip_autopipec.doctor.ask import command_s
from mlip_autopipec.errors import LoginRefused, OperatorError
from mlip_autopipec.process import SystemClock
from mlip_autopipec.transports.shell import CHANNELS_MAX
from mlip_autopipec.transports.ssh_config import Resolved, resolve
from mlip_autopipec.watch.remote import RemoteWatcher

ME = getpass.getuser()
SHORT = socket.gethostname().partition(".")[0]


@dataclass(frozen=True)
class Case:
    """Lines of a configuration for `Host lab`, and some of what must come of them."""

    lines: str
    options: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def through(message: str) -> dict[str, Any]:
    """The way by this command."""
    return {"proxy_command": ["/bin/sh", "-c", f"exec 9>&2 2>/dev/null; exec {message}"]}


FINE: dict[str, Case] = {
    # how a line is written
    "plain": Case(
        "Host lab\n HostName h1\n Port 2200\n User ann",
        {"host": "h1", "port": 2200, "username": "ann"},
    ),
    "equals": Case("Host lab\n HostName=h1\n Port = 2200", {"host": "h1", "port": 2200}),
    "case": Case("HOST lab\n hOSTnAME h1", {"host": "h1"}),
    "quotes": Case('Host lab\n HostName "h1"\n User "ann b"', {"host": "h1", "username": "ann b"}),
    "comment behind a value": Case("Host lab\n Port 22022 # the login node's own", {"port": 22022}),
    "comment lines": Case("# a\nHost lab\n  # b\n\n HostName h1", {"host": "h1"}),
    "tabs": Case("Host lab\n\tHostName\th1", {"host": "h1"}),
    "first value wins": Case("Host lab\n Port 1\nHost *\n Port 2", {"port": 1}),
    "unknown option ignored": Case(
        "IgnoreUnknown Foo*\nHost lab\n FooBar yes\n Port 3", {"port": 3}
    ),
    # who is meant
    "pattern": Case("Host l?b\n Port 4", {"port": 4}),
    "several patterns": Case("Host a b lab\n Port 5", {"port": 5}),
    "negated pattern": Case("Host * !lab\n Port 6\nHost lab\n Port 7", {"port": 7}),
    "no host": Case("Port 8", {"host": "lab", "port": 8, "username": ME}),
    "match host": Case("Match host lab\n Port 9", {"port": 9}),
    "match negated": Case("Match !host lab\n Port 1\nMatch all\n Port 10", {"port": 10}),
    "match originalhost": Case(
        "Host lab\n HostName h1\nMatch originalhost lab host h1\n Port 11", {"port": 11}
    ),
    "match user": Case("Host lab\n User ann\nMatch user ann\n Port 12", {"port": 12}),
    "match localuser": Case(f"Match localuser {ME}\n Port 13", {"port": 13}),
    "match exec": Case('Match host lab exec "test lab = %n"\n Port 14', {"port": 14}),
    "match exec that fails": Case("Match exec false\n Port 1\nMatch all\n Port 15", {"port": 15}),
    "match final": Case("Host lab\n HostName h1\nMatch final host h1\n Port 16", {"port": 16}),
    "match canonical": Case("Match canonical\n Port 1\nMatch all\n Port 17", {"port": 17}),
    "include": Case("Include {folder}/more/*.conf\nHost lab\n Port 2", {"port": 18}),
    "include of nothing": Case("Include {folder}/none/*\nHost lab\n Port 19", {"port": 19}),
    # tokens and variables
    "hostname token": Case("Host lab\n HostName %h.example.org", {"host": "lab.example.org"}),
    "identity tokens": Case(
        "Host lab\n HostName h1\n User ann\n IdentityFile {folder}/%n.%h.%r.%u.%L.%p", {}
    ),
    "variable": Case("Host lab\n IdentityFile ${{AP_FOLDER}}/key", {"keys": 1}),
    # ways there
    "proxy command": Case(
        "Host lab\n HostName h1\n ProxyCommand nc -X 5 %h %p # %%", through("nc -X 5 h1 22 # %")
    ),
    "proxy command none": Case("Host lab\n ProxyCommand none", {"proxy_command": None}),
    "proxy command with tokens": Case(
        "Host lab\n User ann\n ProxyCommand gate %r@%n:%p", through("gate ann@lab:22")
    ),
    "proxy jump": Case(
        "Host lab\n HostName h1\n Port 23\n ProxyJump bob@gate:2222",
        through("ssh -F {config} -o BatchMode=yes -l bob -p 2222 -W '[h1]:23' -- gate"),
    ),
    "proxy jumps": Case(
        "Host lab\n ProxyJump a,b@[::1]:23,c",
        through("ssh -F {config} -o BatchMode=yes -J 'a,b@[::1]:23' -W '[lab]:22' -- c"),
    ),
    "address family": Case("Host lab\n AddressFamily inet", {"family": socket.AF_INET}),
    "bind address": Case("Host lab\n BindAddress 127.0.0.1", {"local_addr": ("127.0.0.1", 0)}),
    "connect timeout": Case("Host lab\n ConnectTimeout 7", {"connect_timeout": 7}),
    # what a program does not want
    "a terminal": Case("Host lab\n RequestTTY force", {"request_pty": False}),
    "a command of its own": Case("Host lab\n RemoteCommand tmux attach", {"request_pty": False}),
    "forwards": Case(
        "Host lab\n ForwardAgent yes\n ForwardX11 yes\n LocalForward 8080 x:80", {"port": 22}
    ),
    "a master": Case(
        "Host lab\n ControlMaster auto\n ControlPath {folder}/%C\n ControlPersist 1h", {"port": 22}
    ),
    # identities
    "a file that does not exist": Case(
        "Host lab\n IdentityFile {folder}/none\n IdentityFile {folder}/key", {"keys": 1}
    ),
    "a key with a passphrase": Case(
        "Host lab\n IdentityFile {folder}/locked\n IdentityFile {folder}/key",
        {"keys": 1},
        ("locked needs a passphrase",),
    ),
    "no agent": Case("Host lab\n IdentityAgent none", {"agent_path": None}),
    "an agent": Case("Host lab\n IdentityAgent {folder}/agent", {"agent_path": "{folder}/agent"}),
    "identities only": Case(
        "Host lab\n IdentitiesOnly yes\n IdentityFile {folder}/none", {"agent_path": None}
    ),
    "a public key for an agent": Case(
        "Host lab\n IdentitiesOnly yes\n IdentityFile {folder}/key.pub", {"identities": 1}
    ),
    "a certificate": Case(
        "Host lab\n IdentityFile {folder}/key\n CertificateFile {folder}/cert.pub", {"keys": 2}
    ),
    # algorithms
    "algorithms added": Case(
        "Host lab\n KexAlgorithms +diffie-hellman-group1-sha1",
        {"last": ("kex_algs", "diffie-hellman-group1-sha1")},
    ),
    "algorithms first": Case(
        "Host lab\n Ciphers ^aes256-ctr", {"first": ("encryption_algs", "aes256-ctr")}
    ),
    "algorithms removed": Case(
        "Host lab\n MACs -hmac-sha1*", {"without": ("mac_algs", "hmac-sha1")}
    ),
    "algorithms alone": Case(
        "Host lab\n HostKeyAlgorithms ssh-ed25519", {"server_host_key_algs": ["ssh-ed25519"]}
    ),
    "compression": Case(
        "Host lab\n Compression yes", {"first": ("compression_algs", "zlib@openssh.com")}
    ),
    # host keys
    "an alias": Case("Host lab\n HostKeyAlias alias.example", {"host_key_alias": "alias.example"}),
    # what it cannot do, with its line
    "kerberos": Case(
        "Host lab\n GSSAPIAuthentication yes", {}, ("({config} line 2): ssh logs in by Kerberos",)
    ),
    "any host key": Case(
        "Host lab\n\n StrictHostKeyChecking no", {}, ("({config} line 3): ssh takes any host key",)
    ),
    "a new host key": Case(
        "Host lab\n StrictHostKeyChecking=accept-new", {}, ("line 2): ssh takes a new host key",)
    ),
    "a smart card": Case(
        "Include {folder}/more/*.card",
        {},
        ("({folder}/more/a.card line 1): ssh logs in by a smart card",),
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of every kind, and files to include."""
    folder = tmp_path_factory.mktemp("ssh")
    keygen(folder / "key")
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", folder / "locked"], check=True
    )
    subprocess.run(
        ["ssh-keygen", "-q", "-s", folder / "key", "-I", "me", "-n", "ann", folder / "key.pub"],
        check=True,
    )
    # under its usual name it is taken unasked
    (folder / "key-cert.pub").rename(folder / "cert.pub")
    (folder / "locked.pub").unlink()
    (folder / "more").mkdir()
    (folder / "more/a.conf").write_text("Host lab\n Port 18\n")
    (folder / "more/a.card").write_text("PKCS11Provider /usr/lib/card.so\n")
    return folder


def resolved(folder: Path, lines: str) -> Resolved:
    config = folder / "config"
    config.write_text(
        lines.replace("{{", "{").replace("}}", "}").replace("{folder}", str(folder)) + "\n"
    )
    return resolve("lab", config=config)


@pytest.mark.parametrize("name", FINE)
def test_a_configuration_is_read_as_openssh_reads_it(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real client reads the file; what asyncssh is told must be that, with tokens filled in."""
    monkeypatch.setenv("AP_FOLDER", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    case = FINE[name]
    found = resolved(folder, case.lines)
    for option, wanted in case.options.items():
        got = found.options.get(
            "client_keys"
            if option == "keys"
            else "agent_identities"
            if option == "identities"
            else option
        )
        match option:
            case "keys" | "identities":
                assert len(got or ()) == wanted
            case "first":
                assert found.options[wanted[0]][0] == wanted[1]
            case "last":
                assert found.options[wanted[0]][-1] == wanted[1]
            case "without":
                assert wanted[1] not in found.options[wanted[0]]
            case _:
                assert _plain(got) == _filled(wanted, folder)
    assert len(found.notes) == len(case.notes)
    for message, text in zip(found.notes, case.notes, strict=True):
        assert _filled(text, folder) in message


def _plain(value: object) -> object:
    return [str(word) for word in value] if isinstance(value, list) else value


def _filled(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_filled(word, folder) for word in value]
    return (
        value.replace("{folder}", str(folder)).replace("{config}", str(folder / "config"))
        if isinstance(value, str)
        else value
    )


def test_tokens_of_an_identity_are_filled_in(folder: Path) -> None:
    """A key under the name that ssh would look for."""
    name = f"lab.h1.ann.{ME}.{SHORT}.22"
    (folder / name).write_bytes((folder / "key").read_bytes())
    (folder / name).chmod(0o600)
    found = resolved(folder, FINE["identity tokens"].lines)
    assert len(found.options["client_keys"]) == 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("Host lab\n  Port no-number", "config line 2: Bad port 'no-number'"),
        ("Host lab\n  NoSuchOption yes", "config: line 2: Bad configuration option: nosuchoption"),
        ("Host lab\n  KexAlgorithms nonsense", "nonsense"),
        ("Host lab\n  ProxyCommand gate\n  ProxyUseFdpass yes", "`kind: openssh` can do it"),
    ],
)
def test_what_cannot_be_followed_is_told_with_its_line(
    lines: str, message: str, folder: Path
) -> None:
    """In ssh's own words, or with the way that can."""
    with pytest.raises(LoginRefused) as refused:
        resolved(folder, lines)
    assert message.replace(" ", "") in str(refused.value).replace(" ", "")


def test_a_check_of_host_keys_that_is_off_is_refused_with_its_line(folder: Path) -> None:
    """Whatever else the file says."""
    with pytest.raises(
        OperatorError, match=r"UserKnownHostsFile none \(.*/config line 2\) switches"
    ):
        resolved(folder, "Host lab\n UserKnownHostsFile none")


# --- known_hosts, by real connections -------------------------------------------------------------


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarMachine]:
    with far_machine(tmp_path_factory.mktemp("far")) as machine:
        yield machine


def known(machine: FarMachine, kind: str) -> str:
    """The content of a known_hosts file of some kind."""
    key = " ".join((machine.folder / "host_key.pub").read_text().split()[:2])
    where = f"[127.0.0.1]:{machine.port}"
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPcxVdmsHHaEbOm3ZW1DIhbpBs4Sc4Cfm8JVr8JHm4mW"
    if kind == "hashed":
        path = machine.folder / "hashed"
        path.write_text(f"{where} {key}\n")
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", path], check=True, capture_output=True)
        return path.read_text()
    return {
        "plain": f"{where} {key}\n",
        "comments and torn lines": (
            f"# mine\n\ntorn\n{where} ssh-unknown AAAA\n{where} {key} a comment\n"
        ),
        "several names": f"other,{where} {key}\n",
        "pattern": f"[127.0.0.*]:{machine.port} {key}\n",
        "another key beside it": f"{where} {other}\n{where} {key}\n",
        "alias": f"alias.example {key}\n",
        "revoked": f"{where} {key}\n@revoked * {key}\n",
        "another key": f"{where} {other}\n",
        "none": "",
    }[kind]


#: What `nc HOST PORT` does.
RELAY = """
import os, socket, sys, threading
far = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def there():
    while data := os.read(0, 65536):
        far.sendall(data)
threading.Thread(target=there, daemon=True).start()
while data := far.recv(65536):
    os.write(1, data)
"""


@pytest.mark.parametrize(
    ("kind", "more", "connects"),
    [
        ("plain", "RequestTTY force", True),
        ("plain", "RemoteCommand sleep 100", True),
        ("plain", "IdentityFile {folder}/none", True),
        (
            "plain",
            "ProxyCommand sh -c 'echo a notice >&2; exec python3 {folder}/relay.py %h %p'",
            True,
        ),
        ("comments and torn lines", "", True),
        ("several names", "", True),
        ("pattern", "", True),
        ("hashed", "", True),
        ("another key beside it", "", True),
        ("alias", "HostKeyAlias alias.example", True),
        ("revoked", "", False),
        ("another key", "StrictHostKeyChecking yes", False),
        ("none", "StrictHostKeyChecking yes", False),
    ],
)
async def test_it_connects_where_openssh_connects(
    machine: FarMachine, tmp_path: Path, kind: str, more: str, *, connects: bool
) -> None:
    """Beside the real client, at one sshd; where neither does, the words say what to do."""
    (tmp_path / "relay.py").write_text(RELAY)
    hosts = tmp_path / "known_hosts"
    hosts.write_text(known(machine, kind))
    config = tmp_path / "config"
    text = machine.config.read_text().replace(str(machine.known_hosts), f"{hosts} {tmp_path}/none")
    config.write_text(
        text.replace("Host far\n", f"Host far\n  {more.replace('{folder}', str(tmp_path))}\n")
    )
    transport = over_asyncssh(machine, tmp_path, config=config)
    try:
        if connects:
            assert (await transport.run(["echo", "here"])).stdout == b"here\n"
        else:
            with pytest.raises(LoginRefused, match="the login failed"):
                await transport.run(["echo", "here"])
    finally:
        await transport.close()
    quiet = [
        "-F",
        str(config),
        "-o",
        "BatchMode=yes",
        "-o",
        "RemoteCommand=none",
        "-o",
        "RequestTTY=no",
    ]
    client = await asyncio.create_subprocess_exec(
        "ssh", *quiet, "far", "true", stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(30):
        _, said = await client.communicate()
    assert (client.returncode == 0) == connects, said
    assert os.environ.get("SSH_ASKPASS") is None


# --- few sessions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [1, 2])
async def test_a_daemon_lives_with_as_few_sessions_as_sshd_allows(
    tmp_path: Path, allowed: int
) -> None:
    """What would keep the only session open gives way.

    Every call has its turn, and outcomes are seen.
    """
    (tmp_path / "far").mkdir()
    with far_machine(tmp_path / "far", f"MaxSessions {allowed}") as machine:
        root = tmp_path / "root"
        (root / "outbox").mkdir(parents=True)
        transport = over_asyncssh(machine, root, config=machine.config)
        watcher = RemoteWatcher(
            transport,
            clock=SystemClock(),
            rng=random.Random(1),  # noqa: S311 - jitter
            interval_s=0.2,
        )
        seen: set[str] = set()

        async def watch() -> None:
            async with aclosing(watcher.names()) as sets:
                async for names in sets:
                    seen.update(names)

        watching = asyncio.create_task(watch())
        try:
            await until(lambda: transport.sessions < CHANNELS_MAX or machine.logins())
            done = await asyncio.gather(
                *(transport.run(["echo", str(number)]) for number in range(4))
            )
            assert [each.stdout for each in done] == [b"0\n", b"1\n", b"2\n", b"3\n"]
            (root / "outbox" / "late.json").write_text("{}")
            await until(lambda: "late.json" in seen)
            assert (await transport.run(["echo", "still"])).stdout == b"still\n"
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            await transport.close()


# --- a shell that reads for long ------------------------------------------------------------------


async def test_the_doctor_tells_how_long_the_shell_takes_before_a_command(tmp_path: Path) -> None:
    """What it reads at a login is most of it here, as with a version manager or `module load`."""
    (tmp_path / "far").mkdir()
    with far_machine(tmp_path / "far") as machine:
        transport = over_asyncssh(machine, tmp_path, config=machine.config)
        try:
            quick_s = await command_s(transport)
            (machine.folder / ".bashrc").write_text("sleep 1.5\n")
            assert await command_s(transport) > quick_s + 1
        finally:
            await transport.close()
