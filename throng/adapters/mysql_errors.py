"""What goes wrong with MySQL and MariaDB, in the words of `throng.domain.errors`. The one place that knows their error numbers."""

from __future__ import annotations

import enum
import ssl

import pymysql

from throng.domain.errors import ErrorCode, ThrongError, unavailable


class Failure(enum.Enum):
    """What a pool and a transaction can do about an error."""

    LOST = "lost"
    """The connection is gone: a new one may help."""
    READ_ONLY = "read_only"
    """This server takes no writes: another one may."""
    DEADLOCK = "deadlock"
    LOCK_TIMEOUT = "lock_timeout"
    DUPLICATE = "duplicate"
    """Another transaction wrote the same key first: seen again from the start, it is there to read."""
    UNKNOWN_COMMIT = "unknown_commit"
    """The connection was lost while the server committed."""
    AWAY = "away"
    """The server is there and cannot: full, overloaded, starting."""
    REFUSED = "refused"
    """Repeating does not help: password, database, table, statement."""


_NUMBERS = {
    Failure.LOST: (0, 1053, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1317, 1927, 2002, 2003, 2006, 2013, 2014, 2055, 3169, 4031),
    Failure.READ_ONLY: (1047, 1290, 1792, 1836),
    Failure.DEADLOCK: (1213, 1614),
    Failure.LOCK_TIMEOUT: (1205, 3572),
    Failure.DUPLICATE: (1062, 1586),
    Failure.AWAY: (
        *(3, 20, 28, 1021, 1026, 1030, 1037, 1038, 1041, 1114, 1180, 1181, 1196, 1197, 1598, 1878),
        *(1040, 1129, 1135, 1203, 1226, 1969, 3024),
    ),
}
_FAILURES = {number: failure for failure, numbers in _NUMBERS.items() for number in numbers}
_TELLING = frozenset({1044, 1045, 1049, 1054, 1142, 1143, 1146, 1364, 1698, 3118, 3159, 3955})
"""Refusals whose words hold names of users, tables and columns alone. Others may quote the statement, and with it a message."""

_CONNECTING = (2002, 2003)
_WORDS = {
    Failure.LOST: "the connection to MySQL was lost",
    Failure.READ_ONLY: "this MySQL server takes no writes",
    Failure.DEADLOCK: "MySQL transactions stood in each other's way too often",
    Failure.LOCK_TIMEOUT: "MySQL rows were locked for too long",
    Failure.DUPLICATE: "the same key was written at the same moment too often",
    Failure.UNKNOWN_COMMIT: "the connection was lost during a commit, and its outcome is not known",
    Failure.AWAY: "MySQL cannot work at the moment",
}
_RETRY_AFTER_MS = {Failure.DEADLOCK: 100, Failure.LOCK_TIMEOUT: 500, Failure.DUPLICATE: 100, Failure.AWAY: 2000}


class MySQLFailure(Exception):
    """A failed statement or connection; stays inside the adapters.

    Attributes:
        failure: what can be done about it.
        number: the server's or the driver's error number; 0: none.
        detail: words that may be shown and logged.
        timed_out: no answer came in time; the server may go on with what it was told.
    """

    def __init__(self, failure: Failure, number: int, detail: str, *, timed_out: bool = False) -> None:
        super().__init__(f"{failure.value} {number} {detail}")
        self.failure = failure
        self.number = number
        self.detail = detail
        self.timed_out = timed_out

    def error(self) -> ThrongError:
        """The error for callers."""
        if self.failure is Failure.REFUSED:
            return ThrongError(ErrorCode.INTERNAL, f"MySQL refused: {self.detail}", fields={"mysql_error": str(self.number)})
        words = "MySQL cannot be reached" if self.number in _CONNECTING else _WORDS[self.failure]
        text = f"{words} ({self.detail})"
        return unavailable(text, retry_after_ms=_RETRY_AFTER_MS.get(self.failure, 1000))


def failure_of(error: Exception, where: str) -> MySQLFailure:
    """Reads an exception of the driver; `where` names the server. The result holds no secret and no part of a statement."""
    if isinstance(error, pymysql.MySQLError):
        number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        original = getattr(error, "original_exception", None)
        if isinstance(original, ssl.SSLCertVerificationError):
            return MySQLFailure(Failure.REFUSED, number, f"the certificate of {where} does not prove its name")
        if isinstance(error, (pymysql.err.IntegrityError, pymysql.err.DataError)) and number not in _FAILURES:
            return MySQLFailure(Failure.REFUSED, number, f"a value does not fit, error {number} of {where}")
        failure = _FAILURES.get(number, Failure.REFUSED)
        if failure is Failure.REFUSED:
            words = str(error.args[1]) if number in _TELLING and len(error.args) > 1 else "see its manual"
            return MySQLFailure(failure, number, f"error {number} of {where}: {words}")
        # The driver gives a time-out and a reset the same number.
        timed_out = isinstance(error.__context__, TimeoutError)
        words = "no answer in time from" if timed_out else f"error {number} of"
        return MySQLFailure(failure, number, f"{words} {where}", timed_out=timed_out)
    if isinstance(error, UnicodeError):
        return MySQLFailure(Failure.REFUSED, 0, "a text is not Unicode")
    # Bytes that are no answer, such as the rest of a cut one: the connection is of no use any more.
    return MySQLFailure(Failure.LOST, 0, f"{type(error).__name__} at {where}")
