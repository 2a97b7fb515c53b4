"""A small SMTP server: greets, asks for a login if told to, takes mails; can refuse and break off.

With a certificate it speaks TLS from the start or offers STARTTLS.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread


@dataclass
class MailServer:
    """What a test sets up and looks at.

    Attributes:
        account: User name and password; None asks for none.
        refusals: First word of a command → the answer instead of the usual; "" breaks off.
        certificate: PEM file with key; None speaks no TLS.
        is_tls: TLS from the start; else STARTTLS where there is a certificate.
        mails: Those that were taken.
        recipients: Addresses of the envelopes.
    """

    port: int = 0
    account: tuple[str, str] | None = None
    refusals: dict[str, str] = field(default_factory=dict)
    certificate: str | None = None
    is_tls: bool = False
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)

    def context(self) -> ssl.SSLContext:
        assert self.certificate is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        return context

    def is_login(self, encoded: str) -> bool:
        """Whether an AUTH PLAIN response holds the account."""
        _, user, password = base64.b64decode(encoded).decode().split("\0")
        return (user, password) == self.account


class _Session:
    """One connection."""

    def __init__(self, server: MailServer, handler: StreamRequestHandler) -> None:
        self.server = server
        self.connection = handler.request
        self.is_encrypted = False
        if server.is_tls:
            self.encrypt()
        self.file = self.connection.makefile("rb")

    def encrypt(self) -> None:
        self.connection = self.server.context().wrap_socket(self.connection, server_side=True)
        self.is_encrypted = True

    def say(self, line: str) -> None:
        self.connection.sendall(f"{line}\r\n".encode())

    def run(self) -> None:
        self.say("220 mail.test ready")
        while line := self.file.readline():
            word, _, rest = line.decode().strip().partition(" ")
            refusal = self.server.refusals.get(word.upper())
            if refusal == "":
                return
            if refusal is not None:
                self.say(refusal)
            elif not self.obey(word.upper(), rest):
                return

    def obey(self, word: str, rest: str) -> bool:
        if word == "EHLO":
            offers = ["mail.test"]
            if self.server.account:
                offers.append("AUTH PLAIN")
            if self.server.certificate and not self.is_encrypted:
                offers.append("STARTTLS")
            for offer in offers[:-1]:
                self.say(f"250-{offer}")
            self.say(f"250 {offers[-1]}")
        elif word == "STARTTLS":
            self.say("220 go on")
            self.encrypt()
            self.file = self.connection.makefile("rb")
        elif word == "AUTH":
            is_known = self.server.is_login(rest.removeprefix("PLAIN "))
            self.say("235 welcome" if is_known else f"535 who is {rest}?")
        elif word == "DATA":
            self.say("354 send it")
            lines = list(iter(self.file.readline, b".\r\n"))
            mail = message_from_bytes(b"".join(lines), policy=policy.default)
            self.server.mails.append(mail)
            self.say("250 taken")
        else:
            if word == "RCPT":
                self.server.recipients.append(rest.removeprefix("TO:").strip("<>"))
            self.say("221 bye" if word == "QUIT" else "250 ok")
        return word != "QUIT"


@contextmanager
def mail_server(server: MailServer | None = None) -> Iterator[MailServer]:
    """The server, listening on loopback."""
    running = server or MailServer()

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            try:
                session = _Session(running, self)
                session.run()
                session.file.close()
                session.connection.close()
            except OSError:
                return  # the client went away, or took no part in TLS

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as listener:
        running.port = listener.server_address[1]
        thread = Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            listener.shutdown()
            thread.join()
