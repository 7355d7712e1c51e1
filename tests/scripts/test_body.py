"""lua/body.lua: a body that several mailboxes share."""

import pytest

from tables import KEEP, Case

BODY = "po:body:0123"

CASES = [
    Case("the body is kept as long as the keys of a mailbox", keys=[BODY], argv=['{"n":1}'], answer="OK",
         after={BODY: '{"n":1}'}, ttl={BODY: KEEP}),
    Case("sent again, it is the same", keys=[BODY], argv=['{"n":1}'], before={BODY: '{"n":1}'}, answer="OK",
         after={BODY: '{"n":1}'}, ttl={BODY: KEEP}),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_body(table, case):
    table.check("body", case)
