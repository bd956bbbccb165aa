"""Remotes on the loopback: a real sshd, git over HTTP, a listener that never says a word."""

import base64
import contextlib
import functools
import http.server
import os
import re
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import threading
import time

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin")
PASSWORD = "let me in"  # not a secret: the server lives as long as its test


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def silent():
    """A port where connections are accepted by the kernel and never answered."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener.getsockname()[1]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Nothing is printed."""

    def do_GET(self):
        self._answer(b"")

    def do_POST(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            self._answer(b"".join(chunks))
        else:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _answer(self, body):
        self.server.heard.append((self.path, dict(self.headers)))
        if self.server.redirect:
            self._turn_away(302, "Location", self.server.redirect + self.path)
        elif not self._is_welcome():
            self.server.refused += 1
            self._turn_away(self.server.denial, "WWW-Authenticate", 'Basic realm="git"')
        else:
            self._serve(body)

    def _is_welcome(self):
        wanted = self.server.wanted
        given = self.headers.get("Authorization", "")
        knows = given == "Basic " + base64.b64encode(wanted.encode()).decode()
        return not wanted or knows or (self.server.is_public and "git-upload-pack" in self.path)

    def _turn_away(self, status, name, value):
        self.send_response(status)
        self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _serve(self, body):
        path, _, query = self.path.partition("?")
        env = {
            **os.environ,
            "GIT_PROJECT_ROOT": self.server.folder,
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_USER": "somebody",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, timeout=60)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode("latin-1").split("\r\n") if ": " in line]
        status = next((int(value.split()[0]) for name, value in fields if name == "Status"), 200)
        self.send_response(status)
        for name, value in fields:
            if name not in ("Status", "Content-Length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextlib.contextmanager
def _serving(server):
    """Answers, in threads, until the end."""
    server.socket.settimeout(1)  # a client may be gone between being seen and being let in
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def web(folder, wanted="", *, denial=401, is_public=False, redirect="", certificate=None):
    """git's own HTTP backend over `folder`. The server, its port as `.port`, what it heard as `.heard`: (path, headers).

    `wanted`: "user:password", for everything but reading with `is_public`; others are told `denial`. `redirect`: another
    server's URL, for whoever comes. `certificate`: (file, key), for TLS.
    """
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.folder, server.wanted, server.refused, server.heard = str(folder), wanted, 0, []
    server.denial, server.is_public, server.redirect = denial, is_public, redirect
    server.port = server.server_address[1]
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, certificate))
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with _serving(server):
        yield server


class _Tunnel(socketserver.BaseRequestHandler):
    """A proxy's CONNECT: whatever host is wanted, our own server is meant."""

    def handle(self):
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.request.recv(4096)
        self.server.wanted.append(head.split()[1].decode())
        with socket.create_connection(("127.0.0.1", self.server.to)) as other:
            self.request.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_pour, args=(other, self.request), daemon=True)
            back.start()
            _pour(self.request, other)
            back.join(10)


def _pour(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def proxy(to):
    """An HTTP proxy that leads everybody to the port `to`; its port as `.port`, the hosts they wanted as `.wanted`."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Tunnel)
    server.daemon_threads = True
    server.to, server.wanted, server.port = to, [], server.server_address[1]
    with _serving(server):
        yield server


def certificate(folder, *hosts):
    """A certificate that signs itself, for `hosts`: (file, key)."""
    pair = folder / "certificate.pem", folder / "key.pem"
    names = "subjectAltName=" + ",".join(f"DNS:{host}" for host in hosts)
    making = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    making += ["-days", "2", "-subj", "/CN=test", "-addext", names, "-out", str(pair[0]), "-keyout", str(pair[1])]
    subprocess.run(making, check=True, capture_output=True)
    return pair


class NoSshd(Exception):
    """sshd is not here, or does not run as we are; the text says why."""


@contextlib.contextmanager
def sshd(folder):
    """An sshd of its own: (port, GIT_SSH_COMMAND with the key it knows, the same with one it does not). Raises NoSshd."""
    if SSHD is None or shutil.which("ssh-keygen") is None:
        raise NoSshd("sshd is not installed (apt install openssh-server)")
    folder.mkdir(mode=0o700)
    for name in ("host", "known", "unknown"):
        making = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(making, check=True, capture_output=True)
    (folder / "authorized").write_text((folder / "known.pub").read_text())
    port = free_port()
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized\n"
        f"PidFile {folder}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\n"
    )
    _make_its_directory(folder)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=log)
    common = f"-p {port} -oBatchMode=yes -oStrictHostKeyChecking=no -oUserKnownHostsFile={folder}/hosts"
    common += " -oLogLevel=ERROR -oIdentitiesOnly=yes -oIdentityAgent=none -F/dev/null"
    commands = [f"ssh -i {folder}/{name} {common}" for name in ("known", "unknown")]
    try:
        _await(server, commands[0], folder)
        yield port, *commands
    finally:
        server.terminate()
        server.wait(10)


def _make_its_directory(folder):
    """What the system's own start script does for sshd, where that never ran and we may."""
    said = subprocess.run([SSHD, "-t", "-f", str(folder / "config")], capture_output=True, text=True).stderr
    found = re.search(r"Missing privilege separation directory: (\S+)", said)
    if found and os.geteuid() == 0:
        os.makedirs(found[1], mode=0o755, exist_ok=True)


def _await(server, command, folder):
    for _ in range(100):
        if server.poll() is not None:
            raise NoSshd("sshd does not start: " + (folder / "log").read_text()[-300:])
        done = subprocess.run([*command.split(), "127.0.0.1", "true"], capture_output=True, text=True)
        if done.returncode == 0:
            return
        if "ermission denied" in done.stderr:
            raise NoSshd("sshd lets this user not in: " + done.stderr[-300:])
        time.sleep(0.05)
    raise NoSshd("sshd does not answer")


@contextlib.contextmanager
def git_daemon(folder, largest_file=None):
    """git's own server over `folder`, that takes pushes: (port, process). With a `largest_file` its disk is full beyond it."""
    port = free_port()
    line = [
        "git",
        "daemon",
        "--reuseaddr",
        "--listen=127.0.0.1",
        f"--port={port}",
        "--export-all",
        f"--base-path={folder}",
    ]
    limited = ["prlimit", f"--fsize={largest_file}", *line] if largest_file is not None else line
    server = subprocess.Popen(
        [*limited, "--enable=receive-pack", str(folder)], stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _await_port(port)
        yield port, server
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(10)


def _await_port(port):
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"nobody listens at {port}")


@contextlib.contextmanager
def meddler(port, relay):
    """A port whose connections go to `port`: what the server says is handed to `relay(data, to)`, which may do without."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        threading.Thread(target=_meddle, args=(listener, port, relay), daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def _meddle(listener, port, relay):
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=_pass_on, args=(client, server, server.sendall), daemon=True).start()
            handle = functools.partial(relay, to=client)
            threading.Thread(target=_pass_on, args=(server, client, handle), daemon=True).start()


def _pass_on(source, target, handle):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            handle(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
