"""Envelopes: from the arguments of send() to JSON, and back.

A message that the server would refuse for certain is refused here, at the caller's line.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Union

from .message import CONTROL, JSON, OTHER, TEXT, File

POSTMASTER = "postmaster"
OWN_ID = "po:"  # begins the ids of the library's own commands
_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")
Addresses = Union[str, Iterable[str]]


def listed(addresses: Optional[Addresses]) -> List[str]:
    if addresses is None:
        return []
    return [addresses] if isinstance(addresses, str) else list(addresses)


def new_id() -> str:
    return str(uuid.uuid4())


def encode(envelope: Mapping[str, Any]) -> str:
    return json.dumps(envelope, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def decode(text: str) -> Dict[str, Any]:
    """ValueError when the text is no JSON object."""
    envelope = json.loads(text)
    if not isinstance(envelope, dict):
        raise ValueError("the server sent JSON that is no object")
    return envelope


def command(subject: str, address: str, id: str, fields: Mapping[str, Any]) -> Dict[str, Any]:
    return {"from": address, "to": [POSTMASTER], "type": CONTROL, "subject": subject, "content": "", "id": id, **fields}


def attachment(file: File) -> Dict[str, Any]:
    return {"name": file.name, "contentType": file.type, "size": len(file.data),
            "content": base64.b64encode(file.data).decode("ascii")}


def message(type: int, to: Addresses, *, text: Optional[str] = None, json_value: Any = None,
            content: Optional[bytes] = None, subject: str = "", cc: Optional[Addresses] = None,
            content_type: Optional[int] = None, charset: Optional[str] = None, level: Optional[int] = None,
            tags: Optional[Sequence[str]] = None, attachments: Optional[Sequence[Mapping[str, Any]]] = None,
            files: Optional[Sequence[File]] = None, references: Optional[str] = None,
            in_reply_to: Optional[str] = None, subject_id: Optional[str] = None, expires_at: Optional[int] = None,
            receipt: Optional[int] = None, id: Optional[str] = None, from_: Optional[str] = None,
            token: Optional[str] = None, extra: Optional[Mapping[str, Any]] = None) -> Dict[str, Any]:
    """An envelope without `from`, unless one is given: the address may be known only after the first welcome."""
    if sum(value is not None for value in (text, json_value, content)) > 1:
        raise ValueError("a message has one content: text, json or content")
    recipients = listed(to)
    if not recipients:
        raise ValueError("a message needs a recipient")
    if id is not None and (not _ID.match(id) or id.startswith(OWN_ID)):
        raise ValueError(f"an id is 1 to 64 of A-Z a-z 0-9 . _ : - and does not begin with {OWN_ID}: {id!r}")
    envelope: Dict[str, Any] = {**(extra or {}), "type": type, "to": recipients, "subject": subject,
                                "id": id or new_id()}
    _put_content(envelope, text, json_value, content, charset)
    optional = {"from": from_, "cc": listed(cc) or None, "contentType": content_type, "charset": charset,
                "level": level, "tags": None if tags is None else list(tags), "references": references,
                "inReplyTo": in_reply_to, "subjectId": subject_id, "expiresAt": expires_at, "receipt": receipt,
                "token": token}
    envelope.update({name: value for name, value in optional.items() if value is not None})
    attached = [dict(item) for item in attachments or ()] + [attachment(file) for file in files or ()]
    if attached:
        envelope["attachments"] = attached
    encode(envelope).encode("utf-8")  # a lone surrogate, or a value that JSON has not, fails here
    return envelope


def _put_content(envelope: Dict[str, Any], text: Optional[str], json_value: Any, content: Optional[bytes],
                 charset: Optional[str]) -> None:
    if content is not None:
        data, kind = bytes(content), OTHER
    elif json_value is not None:
        data, kind = encode(json_value).encode(charset or "utf-8"), JSON
    else:
        data, kind = (text or "").encode(charset or "utf-8"), TEXT
    envelope["content"] = base64.b64encode(data).decode("ascii")
    envelope["contentType"] = kind
