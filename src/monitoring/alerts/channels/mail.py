"""Mail over SMTP."""

from __future__ import annotations

import smtplib
import ssl
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from src.monitoring.alerts.channels.channel import DeliveryFailed
from src.schema.alerts import MailConfig
from src.secret import Secret

_FIRST_PERMANENT = 500
_LONGEST_QUOTE = 160


@dataclass(frozen=True)
class Mail:
    """An account that sends mails."""

    config: MailConfig
    password: Secret | None
    timeout_seconds: float
    name: str = "mail"
    longest_bytes: int = 100_000

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The password."""
        return () if self.password is None else (self.password,)

    def send(self, title: str, body: str) -> None:
        """Delivers one mail to all recipients.

        Raises:
            DeliveryFailed: It did not get through to any of them.
        """
        mail = EmailMessage()
        mail["Subject"] = title
        mail["From"] = self.config.sender
        mail["To"] = ", ".join(self.config.recipients)
        mail["Date"] = formatdate(localtime=True)
        mail["Message-ID"] = make_msgid(domain="linguabridge.invalid")
        mail.set_content(f"{body}\n")
        # `from None` below: a server may repeat what it was told.
        try:
            server = self._connect()
        except smtplib.SMTPAuthenticationError as error:
            # Not quoted: some servers repeat the encoded password.
            raise DeliveryFailed(
                f"it refuses the login ({error.smtp_code}); check alerts.mail.username and the "
                "password",
                is_refusal=True,
            ) from None
        except smtplib.SMTPResponseException as error:
            raise _refused(error.smtp_code, error.smtp_error) from None
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryFailed(_explain(error)) from None
        try:
            server.send_message(mail)
        except smtplib.SMTPRecipientsRefused as error:
            code, text = next(iter(error.recipients.values()))
            raise _refused(code, text) from None
        except smtplib.SMTPResponseException as error:
            raise _refused(error.smtp_code, error.smtp_error) from None
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryFailed(_explain(error)) from None
        finally:
            # The server has taken the mail or refused it; how it says goodbye changes nothing.
            with suppress(OSError, smtplib.SMTPException):
                server.quit()

    def _connect(self) -> smtplib.SMTP:
        config, context = self.config, ssl.create_default_context()
        if config.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                config.host, config.port, timeout=self.timeout_seconds, context=context
            )
        else:
            server = smtplib.SMTP(config.host, config.port, timeout=self.timeout_seconds)
        try:
            if config.security == "starttls":
                server.starttls(context=context)
            if config.username is not None and self.password is not None:
                server.login(config.username, self.password.reveal())
        except BaseException:
            server.close()
            raise
        return server


def _refused(code: int, text: bytes | str) -> DeliveryFailed:
    words = text.decode("utf-8", errors="replace") if isinstance(text, bytes) else text
    quote = " ".join(f"{code} {words}".split())[:_LONGEST_QUOTE]
    return DeliveryFailed(f"it answers: {quote}", is_refusal=code >= _FIRST_PERMANENT)


def _explain(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return "it offers no such encryption or login; check alerts.mail.security and port"
    if isinstance(error, ssl.SSLError):
        return f"no encrypted connection ({error.reason or 'TLS fails'}); check security and port"
    if isinstance(error, smtplib.SMTPServerDisconnected | ConnectionResetError):
        return "the connection broke"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"it cannot be asked ({type(error).__name__})"
