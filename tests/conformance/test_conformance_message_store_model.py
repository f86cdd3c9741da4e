"""`MessageStore.commit` against a plain model, over random schedules (I1, I2), on every adapter."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import dataclass

from conformance_builders import ORIGIN, candidate, recall_body, text_body
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from group_svc.ports import Committed, Refused
from throng.domain.errors import ErrorCode, ThrongError
from throng.domain.group import Group, Role
from throng.domain.ids import GroupId, UserId
from throng.domain.message import MessageKind, Submission

GROUPS = ("g1", "g2")
REFUSAL = ThrongError(ErrorCode.MUTED, "muted")
KINDS = st.sampled_from([MessageKind.TEXT, MessageKind.TEXT, MessageKind.SYSTEM])


@dataclass
class ModelMessage:
    """A message as the model keeps it."""

    seq: int
    sender: str
    client_msg_id: str
    kind: MessageKind
    body: bytes
    recalled_by_seq: int = 0


class Model:
    """What a store must do, in the plainest words: lists, and one look through all of them per question."""

    def __init__(self) -> None:
        self.groups: dict[str, list[ModelMessage]] = {group: [] for group in GROUPS}

    def find(self, sender: str, client_msg_id: str) -> tuple[str, ModelMessage] | None:
        for group, messages in self.groups.items():
            for message in messages:
                if (message.sender, message.client_msg_id) == (sender, client_msg_id):
                    return group, message
        return None

    def commit(self, one: Submission, *, refused: bool, role: Role) -> tuple[int, bool] | ErrorCode:
        """(seq, repeated), or the code of the refusal."""
        known = self.find(one.user_id, one.client_msg_id)
        if known is not None:
            group, message = known
            same_body = message.recalled_by_seq > 0 or message.body == one.body
            same = group == one.group_id and message.kind == one.kind and same_body
            return (message.seq, True) if same else ErrorCode.CLIENT_MSG_ID_REUSED
        if refused:
            return REFUSAL.code
        if one.group_id not in self.groups:
            return ErrorCode.GROUP_NOT_FOUND
        messages = self.groups[one.group_id]
        target = None
        if one.kind is MessageKind.RECALL:
            target = next((message for message in messages if message.seq == one.target_seq), None)
            if target is None or target.kind in (MessageKind.RECALL, MessageKind.SYSTEM):
                return ErrorCode.MESSAGE_NOT_FOUND
            if target.sender != one.user_id and not role.moderates:
                return ErrorCode.PERMISSION_DENIED
            if target.recalled_by_seq:
                return target.recalled_by_seq, True
        event = ModelMessage(len(messages) + 1, one.user_id, one.client_msg_id, one.kind, one.body)
        messages.append(event)
        if target is not None:
            target.body, target.recalled_by_seq = b"", event.seq
        return event.seq, False


@st.composite
def submissions(draw) -> Submission:
    """Submissions from so small a world that ids, targets and bodies meet often."""
    group = draw(st.sampled_from([*GROUPS, *GROUPS, "nowhere"]))
    user = draw(st.sampled_from(["ann", "bob"]))
    target = draw(st.one_of(st.just(0), st.integers(1, 12)))
    client_msg_id = str(uuid.UUID(int=draw(st.integers(1, 25)) + (100 if target else 0)))
    kind = MessageKind.RECALL if target else draw(KINDS)
    body = recall_body(target) if target else text_body(draw(st.sampled_from(["one", "two"])))
    return Submission(GroupId(group), UserId(user), client_msg_id, kind, body, ORIGIN, 1, target_seq=target)


TRIES = st.tuples(submissions(), st.booleans(), st.sampled_from([Role.MEMBER, Role.ADMINISTRATOR]))


class CommitMachine(RuleBasedStateMachine):
    """Commits, reopens, and compares everything after every step."""

    def __init__(self, make_tables) -> None:
        super().__init__()
        self._make_tables = make_tables
        self._exit = contextlib.ExitStack()

    def teardown(self) -> None:
        self._exit.close()

    @initialize()
    def begin(self) -> None:
        self.open = self._exit.enter_context(self._make_tables())
        self.stores = self.open()
        self.model = Model()
        for group in GROUPS:
            self.stores.members.create_group(Group(GroupId(group), group), owner_id=None)

    @rule(tries=st.lists(TRIES, min_size=1, max_size=8))
    def commit(self, tries) -> None:
        batch = [candidate(one, refusal=REFUSAL if refused else None, role=role) for one, refused, role in tries]
        outcomes = self.stores.messages.commit(batch, now_ms=5)
        expected = [self.model.commit(one, refused=refused, role=role) for one, refused, role in tries]
        assert len(outcomes) == len(expected)
        for outcome, wanted in zip(outcomes, expected, strict=True):
            if isinstance(outcome, Refused):
                assert outcome.error.code is wanted
            else:
                assert isinstance(outcome, Committed)
                assert (outcome.position.seq, outcome.repeated) == wanted
                assert outcome.position.seq == outcome.message.seq

    @rule()
    def reopen(self) -> None:
        self.stores = self.open()

    @invariant()
    def history_is_the_models(self) -> None:
        for group, messages in self.model.groups.items():
            page = self.stores.messages.read_after(GroupId(group), after_seq=0, up_to_seq=0, limit=1_000)
            assert page.head_seq == len(messages)
            found = [
                ModelMessage(one.seq, one.sender_id, one.client_msg_id, one.kind, one.body, one.recalled_by_seq)
                for one in page.messages
            ]
            assert found == messages
            assert [one.seq for one in page.messages] == list(range(1, len(messages) + 1))


def test_random_schedules_agree_with_the_model_i1_i2(make_tables):
    run_state_machine_as_test(
        lambda: CommitMachine(make_tables),
        settings=settings(
            max_examples=40, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
        ),
    )
