"""Servers for tests of what a team shares: sshd and S3 (moto), on 127.0.0.1, each as a process of its own."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from typing import NamedTuple

import pytest

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
MOTO = os.environ.get("MOTO_SERVER") or shutil.which("moto_server")
_SSHD_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {home}/.ssh/host
AuthorizedKeysFile {home}/.ssh/id_ed25519.pub
PasswordAuthentication no
StrictModes no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
"""


class Server(NamedTuple):
    """An address below which files are kept, and the environment in which it is reached."""

    url: str
    environment: dict


def _free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def _serving(command, port, log):
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        for _ in range(300):
            if process.poll() is not None:
                pytest.fail(f"{command[0]} ended: {log.read_text()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def folder(tmp_path):
    (tmp_path / "kept").mkdir()
    yield Server(str(tmp_path / "kept"), {})


@contextlib.contextmanager
def ssh(tmp_path):
    """A home folder with a key that an sshd of this user knows."""
    if not SSHD or not shutil.which("ssh-keygen"):
        pytest.skip("there is no sshd here (Debian: apt-get install openssh-server)")
    pytest.importorskip("sshfs", reason="envs/remotes.txt is not installed")
    home, port = tmp_path / "home", _free_port()
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    for name in ("host", "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / ".ssh" / name], check=True)
    key = (home / ".ssh/host.pub").read_text()
    (home / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{port} {key}")
    (home / "sshd_config").write_text(_SSHD_CONFIG.format(port=port, home=home))
    if os.getuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    (tmp_path / "kept").mkdir()
    with _serving([SSHD, "-D", "-e", "-f", home / "sshd_config"], port, tmp_path / "sshd.log"):
        yield Server(f"ssh://{getpass.getuser()}@127.0.0.1:{port}{tmp_path}/kept", {"HOME": str(home)})


@contextlib.contextmanager
def s3(tmp_path):
    """An S3 server with the bucket ``team``."""
    if not MOTO:
        pytest.skip("there is no S3 server here: moto_server on PATH or as MOTO_SERVER (pip install 'moto[server]')")
    s3fs = pytest.importorskip("s3fs", reason="envs/remotes.txt is not installed")
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    who = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    with _serving([MOTO, "-H", "127.0.0.1", "-p", str(port)], port, tmp_path / "moto.log"):
        s3fs.S3FileSystem(key="a", secret="b", endpoint_url=address, use_listings_cache=False).mkdir("team")
        yield Server("s3://team/kept", {**who, "AWS_ENDPOINT_URL": address})


ALL = {"folder": folder, "ssh": ssh, "s3": s3}
