"""How MySQL is named and entered, what is written into statements, and what its errors become; no server."""

from __future__ import annotations

import pathlib
import ssl

import pymysql
import pytest

from group_svc.settings import GroupServiceSettings
from throng.adapters.mysql_access import Host, MySQLAccess, parse_url
from throng.adapters.mysql_errors import Failure, failure_of
from throng.adapters.mysql_statements import KEYS_PER_STATEMENT, chunks, literal, rows_of
from throng.domain.errors import ErrorCode, ThrongError
from throng.runtime.settings import SettingsError, load
from unread_svc.settings import UnreadSettings

URL = "mysql://throng@db1:3307,db2/chat"


def test_a_url_names_hosts_user_and_database():
    assert parse_url(URL) == ((Host("db1", 3307), Host("db2", 3306)), "throng", "chat")
    assert parse_url("mysql://a%40b@[::1]:3306/chat") == ((Host("::1", 3306),), "a@b", "chat")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://throng:sesame@db/chat", "password"),
        ("mysql://db/chat", "user"),
        ("mysql://throng@db/", "database"),
        ("mysql://throng@db/cha`t", "database"),
        ("mysql://throng@db:0/chat", "host:port"),
        ("mysql://throng@db:x/chat", "host:port"),
        ("mysql://throng@,db/chat", "host:port"),
        ("mysql://throng@db/chat?ssl=1", "end with the database"),
        ("http://throng@db/chat", "mysql://"),
    ],
)
def test_a_wrong_url_is_named_without_its_secrets(url, words):
    with pytest.raises(ValueError, match=words) as caught:
        parse_url(url)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("kind", [GroupServiceSettings, UnreadSettings])
def test_settings_make_an_access_with_the_password_from_its_file(kind, tmp_path: pathlib.Path):
    file = tmp_path / "password"
    file.write_text("sesame\n")
    values = {"store": "mysql", "mysql_url": URL, "mysql_password_file": file, "mysql_pool_size": 3, "mysql_timeout_seconds": 2}
    settings = load(kind, flags=values, environment={})
    access = settings.mysql_access()
    assert (access.user, access.database, access.password, access.pool_size, access.timeout_seconds) == (
        "throng",
        "chat",
        "sesame",
        3,
        2,
    )
    assert "sesame" not in repr(access)
    assert "sesame" not in repr(settings)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"store": "mysql"}, "needs mysql_url"),
        ({"store": "postgres"}, "sqlite"),
        ({"mysql_url": "mysql://a:sesame@db/chat"}, "password"),
        ({"mysql_cert_file": "c.pem"}, "go together"),
        ({"mysql_cert_file": "c.pem", "mysql_key_file": "k.pem"}, "needs mysql_ca_file"),
        ({"mysql_pool_size": 1}, "greater than or equal to 2"),
    ],
)
def test_settings_that_contradict_each_other_are_named(values, words):
    with pytest.raises(SettingsError, match=words) as caught:
        load(GroupServiceSettings, flags=values, environment={})
    assert "sesame" not in str(caught.value)


def test_a_password_file_that_is_missing_is_named(tmp_path: pathlib.Path):
    settings = load(GroupServiceSettings, flags={"mysql_url": URL, "mysql_password_file": tmp_path / "none"}, environment={})
    with pytest.raises(ThrongError, match="none") as caught:
        settings.mysql_access()
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT


def test_tls_files_that_cannot_be_used_are_refused(tmp_path: pathlib.Path):
    access = MySQLAccess((Host("db", 1),), "u", "d", ca_file=tmp_path / "none.pem")
    with pytest.raises(ThrongError) as caught:
        access.tls()
    assert caught.value.code is ErrorCode.INVALID_ARGUMENT
    assert MySQLAccess((Host("db", 1),), "u", "d").tls() is None


def test_values_become_literals():
    assert literal("it's \\ %s") == "'it''s \\\\ %s'"
    assert literal(b"\x00'\xff") == "X'0027ff'"
    assert (literal(None), literal(-3), literal(b"")) == ("NULL", "-3", "X''")
    assert rows_of([("a", 1), ("b", None)]) == "('a',1),('b',NULL)"
    with pytest.raises((TypeError, ValueError)):
        literal(object())  # type: ignore[arg-type]


def test_lists_of_keys_are_cut():
    assert [len(part) for part in chunks(range(2 * KEYS_PER_STATEMENT + 1))] == [KEYS_PER_STATEMENT, KEYS_PER_STATEMENT, 1]


@pytest.mark.parametrize(
    ("number", "failure", "code"),
    [
        (2013, Failure.LOST, ErrorCode.UNAVAILABLE),
        (2003, Failure.LOST, ErrorCode.UNAVAILABLE),
        (1053, Failure.LOST, ErrorCode.UNAVAILABLE),
        (1290, Failure.READ_ONLY, ErrorCode.UNAVAILABLE),
        (1792, Failure.READ_ONLY, ErrorCode.UNAVAILABLE),
        (1836, Failure.READ_ONLY, ErrorCode.UNAVAILABLE),
        (1213, Failure.DEADLOCK, ErrorCode.UNAVAILABLE),
        (1205, Failure.LOCK_TIMEOUT, ErrorCode.UNAVAILABLE),
        (1062, Failure.DUPLICATE, ErrorCode.UNAVAILABLE),
        (1040, Failure.AWAY, ErrorCode.UNAVAILABLE),
        (1021, Failure.AWAY, ErrorCode.UNAVAILABLE),
        (1114, Failure.AWAY, ErrorCode.UNAVAILABLE),
        (3, Failure.AWAY, ErrorCode.UNAVAILABLE),
        (1045, Failure.REFUSED, ErrorCode.INTERNAL),
        (1049, Failure.REFUSED, ErrorCode.INTERNAL),
        (1064, Failure.REFUSED, ErrorCode.INTERNAL),
        (1146, Failure.REFUSED, ErrorCode.INTERNAL),
        (9999, Failure.REFUSED, ErrorCode.INTERNAL),
    ],
)
def test_error_numbers_are_translated(number, failure, code):
    found = failure_of(pymysql.err.OperationalError(number, "words of the server"), "db:1")
    assert found.failure is failure
    error = found.error()
    assert error.code is code
    assert (error.retry_after_ms > 0) is (code is ErrorCode.UNAVAILABLE)
    assert "db:1" in error.text


def test_words_that_may_quote_a_message_are_dropped():
    for number in (1064, 1062, 1366, 1406, 9999):
        error = failure_of(pymysql.err.ProgrammingError(number, "near 'dear diary'"), "db:1").error()
        assert "diary" not in error.text
    assert "'x'@'y'" in failure_of(pymysql.err.OperationalError(1045, "Access denied for user 'x'@'y'"), "db:1").error().text


def test_what_is_no_answer_is_a_lost_connection_and_a_wrong_certificate_is_named():
    assert failure_of(IndexError("index out of range"), "db:1").failure is Failure.LOST
    assert failure_of(pymysql.err.InterfaceError(0, ""), "db:1").failure is Failure.LOST
    error = pymysql.err.OperationalError(2003, "no")
    error.original_exception = ssl.SSLCertVerificationError("no")  # type: ignore[attr-defined]
    found = failure_of(error, "db:1").error()
    assert found.code is ErrorCode.INTERNAL
    assert "certificate" in found.text
