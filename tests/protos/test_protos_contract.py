"""The contract: generated code agrees with the protos, comments and style hold, and v1 only grows."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

import pytest

from throng.api.common.v1 import error_pb2, group_pb2, message_pb2
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Delivery, OverBudget, Role
from throng.domain.message import Lane, MessageKind
from throng.runtime.rpc_status import status_code

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUF = ROOT / "web" / "node_modules" / ".bin" / "buf"


def buf(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = str(BUF) if BUF.exists() else shutil.which("buf")
    assert command, "buf is not here: run `make web` first"
    return subprocess.run([command, *arguments], cwd=ROOT / "protos", capture_output=True, text=True, check=False)


def test_generated_python_agrees_with_the_protos() -> None:
    done = subprocess.run([sys.executable, "protos/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_element_is_commented_and_in_style() -> None:
    done = buf("lint")
    assert done.returncode == 0, done.stdout


def test_v1_only_grows() -> None:
    done = buf("breaking", "--against", "baseline.binpb")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("mirror", "proto", "prefix", "zero"),
    [
        (ErrorCode, error_pb2.ErrorCode, "ERROR_CODE_", None),
        (Role, group_pb2.Role, "ROLE_", "NONE"),
        (Delivery, group_pb2.Delivery, "DELIVERY_", "UNSPECIFIED"),
        (OverBudget, group_pb2.OverBudget, "OVER_BUDGET_", "UNSPECIFIED"),
        (Lane, message_pb2.Lane, "LANE_", None),
    ],
)
def test_domain_enums_mirror_the_protos(mirror: type, proto: object, prefix: str, zero: str | None) -> None:
    here = {member.name: member.value for member in mirror if member.name != zero}  # type: ignore[attr-defined]
    there = {name.removeprefix(prefix): number for name, number in proto.items() if number}  # type: ignore[attr-defined]
    assert here == there


def test_message_kinds_are_the_fields_of_content() -> None:
    content = message_pb2.Message.DESCRIPTOR.oneofs_by_name["content"]
    fields = {field.name.upper(): field.number for field in content.fields}
    assert {kind.name: kind.value for kind in MessageKind} == {name: number for name, number in fields.items() if name != "EDIT"}


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_error_code_has_a_grpc_status(code: ErrorCode) -> None:
    assert status_code(ThrongError(code, "x")).name != "OK"
