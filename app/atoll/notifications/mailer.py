"""E-mail by the mail server of the operator."""

from __future__ import annotations

import smtplib
import ssl
from contextlib import closing, suppress
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr

from atoll.config import Bundle
from atoll.outbound.tls import MakeContext, lazy_context

# Seconds for the connection and for each response of the server. Several of them fit into the lease
# of a delivery; a server that uses them up may get a message twice.
_RESPONSE_SECONDS = 10
# The port at which TLS begins with the connection instead of by STARTTLS.
_TLS_PORT = 465
_SUBJECT_MAXIMUM = 200
# Errors of the connection, of TLS, and of an unexpected response.
_FAILURES = (OSError, smtplib.SMTPException, ValueError)


class NotMailed(Exception):
    """The mail server did not accept a message. The text contains no address."""


@dataclass(frozen=True)
class Mailer:
    """Sends messages, each on a connection of its own.

    Attributes:
        host: The mail server; None if none is configured.
        port: Its port.
        sender: The address that messages are sent from, perhaps with a name.
        tls: Verifies the server's certificate; None to send without TLS.
        username: The user to log in as; None not to log in.
        password: The user's password.
    """

    host: str | None
    port: int
    sender: str
    tls: MakeContext | None
    username: str | None = None
    password: str = field(default="", repr=False)

    @classmethod
    def from_bundle(cls, bundle: Bundle, ca_bundle: str | None) -> Mailer:
        """Return a mailer for the MAIL keys, which sends nothing without FEATURE_MAILING.

        Args:
            bundle: The bundle.
            ca_bundle: A file of CA certificates; None to use those of the system.
        """
        password = bundle.mail_password
        return cls(
            bundle.mail_server if bundle.feature_mailing else None,
            bundle.mail_port,
            bundle.mail_default_sender or "",
            lazy_context(ca_bundle) if bundle.mail_use_tls else None,
            bundle.mail_username or None,
            password.get_secret_value() if password is not None else "",
        )

    def send(self, recipient: str, subject: str, text: str) -> None:
        """Send a message.

        Args:
            recipient: The address.
            subject: The subject; line breaks become blanks.
            text: The text.

        Raises:
            NotMailed: The server cannot be reached, or did not accept the message.
        """
        if self.host is None:
            raise NotMailed("FEATURE_MAILING is not true, so no e-mail is sent")
        try:
            message = self._message(recipient, subject, text)
            with closing(self._connect(self.host)) as server:
                server.send_message(message, parseaddr(self.sender)[1], [recipient])
                # The message was accepted, so a failure from here on must not repeat it.
                with suppress(*_FAILURES):
                    server.quit()
        except _FAILURES as error:
            raise NotMailed(_reason(error)) from error

    def _connect(self, host: str) -> smtplib.SMTP:
        """Return a connection that is ready for a message."""
        if self.tls is not None and self.port == _TLS_PORT:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, self.port, timeout=_RESPONSE_SECONDS, context=self.tls()
            )
        else:
            server = smtplib.SMTP(host, self.port, timeout=_RESPONSE_SECONDS)
        try:
            if self.tls is not None and self.port != _TLS_PORT:
                server.starttls(context=self.tls())
            if self.username is not None:
                server.login(self.username, self.password)
        except BaseException:
            server.close()
            raise
        return server

    def _message(self, recipient: str, subject: str, text: str) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = Address(addr_spec=recipient)
        message["Subject"] = " ".join(subject.split())[:_SUBJECT_MAXIMUM]
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain=parseaddr(self.sender)[1].rpartition("@")[2])
        # Keeps programs from answering, such as those that announce an absence.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        return message


def _reason(error: Exception) -> str:
    """Return a failure without addresses and without the server's text, which may quote them."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = sorted({code for code, _text in error.recipients.values()})
        return f"the mail server refused the recipient with status {', '.join(map(str, codes))}"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"the mail server responded with status {error.smtp_code}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of the mail server is not valid: {error.verify_message}"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return "the mail server does not support STARTTLS or login, which the bundle requires"
    if isinstance(error, OSError) and error.strerror:
        return f"the mail server cannot be reached: {error.strerror}"
    return f"the mail server cannot be reached: {type(error).__name__}"
