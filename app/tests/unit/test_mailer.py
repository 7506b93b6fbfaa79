"""E-mail is sent with a verified server, and failures do not disclose addresses."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from atoll.notifications.mailer import Mailer, NotMailed

from ..smtp_server import mail_server
from ..tls_front import write_certificate

SENDER = "Registry <registry@example.com>"
RECIPIENT = "ops@example.org"


def plain(port: int) -> Mailer:
    return Mailer("127.0.0.1", port, SENDER, None)


def test_a_message_has_one_recipient_and_safe_headers() -> None:
    with mail_server() as server:
        plain(server.port).send(RECIPIENT, "two\r\nBcc: other@example.org", ".a text: ü\n.\nend\n")
    (message,) = server.messages
    assert server.recipients == [[RECIPIENT]]
    assert message["From"] == SENDER
    assert message["To"] == RECIPIENT
    assert message["Subject"] == "two Bcc: other@example.org"
    assert message["Bcc"] is None
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@example.com>")
    assert message.get_content().splitlines() == [".a text: ü", ".", "end"]
    assert server.logins == []


def test_starttls_and_login_are_used(tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path, "localhost")
    tls = ssl.create_default_context(cafile=str(certificate[0]))
    with mail_server(certificate) as server:
        Mailer("localhost", server.port, SENDER, lambda: tls, "robot", "secret").send(
            RECIPIENT, "s", "t"
        )
    assert server.logins == [("robot", "secret")]
    assert server.encrypted == [True]


def test_the_certificate_is_verified(tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path, "localhost")
    tls = ssl.create_default_context()
    with mail_server(certificate) as server, pytest.raises(NotMailed, match="certificate"):
        Mailer("localhost", server.port, SENDER, lambda: tls, "robot", "secret").send(
            RECIPIENT, "s", "t"
        )
    assert server.messages == []
    assert server.logins == []


def test_nothing_is_sent_if_the_server_lacks_starttls() -> None:
    tls = ssl.create_default_context()
    with mail_server() as server, pytest.raises(NotMailed, match="STARTTLS"):
        Mailer("127.0.0.1", server.port, SENDER, lambda: tls, "robot", "secret").send(
            RECIPIENT, "s", "t"
        )
    assert server.messages == []
    assert server.logins == []


@pytest.mark.parametrize(
    ("command", "response", "reason"),
    [
        ("MAIL", f"451 {RECIPIENT} later", "status 451"),
        ("RCPT", f"550 no {RECIPIENT}", "refused the recipient with status 550"),
        ("DATA", "554 no", "status 554"),
        ("message", "552 too large", "status 552"),
        ("EHLO", "", "cannot be reached"),
        ("MAIL", "", "cannot be reached"),
    ],
)
def test_a_failure_has_a_reason_without_addresses(command: str, response: str, reason: str) -> None:
    with mail_server() as server:
        server.responses[command] = response
        with pytest.raises(NotMailed, match=reason) as raised:
            plain(server.port).send(RECIPIENT, "s", "t")
    assert RECIPIENT not in str(raised.value)
    assert server.messages == []


def test_an_accepted_message_counts_even_if_the_server_vanishes() -> None:
    with mail_server() as server:
        server.responses["QUIT"] = ""
        plain(server.port).send(RECIPIENT, "s", "t")
    assert len(server.messages) == 1


def test_a_server_that_is_not_there_is_a_failure() -> None:
    with mail_server() as server:
        pass
    with pytest.raises(NotMailed, match="cannot be reached"):
        plain(server.port).send(RECIPIENT, "s", "t")


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(Mailer("127.0.0.1", 25, SENDER, None, "robot", "secret"))
