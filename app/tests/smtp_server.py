"""A small mail server for tests: SMTP with STARTTLS and login, and failures on command."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path


@dataclass
class MailServer:
    """What the server received, and how it responds.

    Attributes:
        port: Its port on 127.0.0.1.
        messages: The accepted messages.
        recipients: The recipients of each message.
        logins: The user names and passwords.
        encrypted: For each message whether the connection used TLS.
        responses: Replaces the response to a command, by its name; an empty one closes the
            connection.
    """

    port: int
    messages: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    responses: dict[str, str] = field(default_factory=dict)


@contextmanager
def mail_server(certificate: tuple[Path, Path] | None = None) -> Iterator[MailServer]:
    """Run a server.

    Args:
        certificate: The files of a certificate and its key; without, STARTTLS is not offered.
    """
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = MailServer(listener.getsockname()[1])

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError, ConnectionError):
                    _Session(server, connection, context).run()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


class _Session:
    """One connection."""

    def __init__(
        self, server: MailServer, connection: socket.socket, context: ssl.SSLContext | None
    ) -> None:
        self._server = server
        self._socket = connection
        self._context = context
        self._recipients: list[str] = []

    def run(self) -> None:
        self._stream = self._socket.makefile("rwb")
        self._send("220 mail.test")
        while line := self._stream.readline():
            command, _, argument = line.decode().strip().partition(" ")
            name = command.upper()
            given = self._server.responses.get(name)
            if given == "":
                return
            if given is not None:
                self._send(given)
            elif not self._respond(name, argument):
                return

    def _respond(self, name: str, argument: str) -> bool:
        """Respond to a command, and return whether the connection stays open."""
        encrypted = isinstance(self._socket, ssl.SSLSocket)
        if name == "EHLO":
            offer = "AUTH PLAIN" if encrypted or self._context is None else "STARTTLS"
            self._send(f"250-mail.test\r\n250 {offer}")
        elif name == "STARTTLS" and self._context is not None:
            self._send("220 go ahead")
            self._socket = self._context.wrap_socket(self._socket, server_side=True)
            self._stream = self._socket.makefile("rwb")
        elif name == "AUTH":
            _, user, password = base64.b64decode(argument.split()[1]).decode().split("\0")
            self._server.logins.append((user, password))
            self._send("235 welcome")
        elif name == "RCPT":
            self._recipients.append(argument.partition("<")[2].partition(">")[0])
            self._send("250 ok")
        elif name == "DATA":
            self._send("354 go ahead")
            self._receive(encrypted=encrypted)
        else:
            self._send("221 bye" if name == "QUIT" else "250 ok")
        return name != "QUIT"

    def _receive(self, *, encrypted: bool) -> None:
        lines = []
        while (line := self._stream.readline()) not in (b".\r\n", b""):
            lines.append(line.removeprefix(b"."))
        response = self._server.responses.get("message")
        if response is None:
            parsed = message_from_bytes(b"".join(lines), policy=policy.default)
            assert isinstance(parsed, EmailMessage)
            self._server.messages.append(parsed)
            self._server.recipients.append(self._recipients)
            self._server.encrypted.append(encrypted)
        self._send(response or "250 accepted")

    def _send(self, text: str) -> None:
        self._stream.write(f"{text}\r\n".encode())
        self._stream.flush()
