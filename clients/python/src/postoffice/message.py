"""A message that arrived, and the files in it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Dict, FrozenSet, List, Mapping, Optional

if TYPE_CHECKING:
    from .client import PostOffice
    from .outbox import Sending

MAIL, SIGNAL, POST, CONTROL = 1, 2, 3, 4
TEXT, MARKDOWN, HTML, JSON, OTHER = 0, 1, 2, 3, 7
_FIELDS: FrozenSet[str] = frozenset([
    "from", "to", "subject", "content", "type", "cc", "contentType", "charset", "level", "tags", "attachments",
    "references", "inReplyTo", "subjectId", "createTime", "lastUpdateTime", "state", "fromTag", "id", "seq", "log",
    "expiresAt", "receipt"])


@dataclass(frozen=True)
class File:
    """A file that travels as an attachment: a name, a media type and bytes."""

    name: str
    data: bytes
    type: str = "application/octet-stream"


class Message:
    """One message. `raw` is the envelope as it came (docs/protocol.md section 2); the properties read from `raw`."""

    def __init__(self, raw: Mapping[str, Any], client: "PostOffice") -> None:
        self.raw = raw
        self._client = client
        self._kept: Dict[str, Optional[str]] = {}

    def __repr__(self) -> str:
        return f"<Message {self.id} from {self.from_} subject {self.subject!r}>"

    # -- the envelope

    @property
    def id(self) -> str:
        return str(self.raw.get("id", ""))

    @property
    def from_(self) -> str:
        return str(self.raw.get("from", ""))

    @property
    def to(self) -> List[str]:
        return list(self.raw.get("to", ()))

    @property
    def cc(self) -> List[str]:
        return list(self.raw.get("cc", ()))

    @property
    def type(self) -> int:
        """1 mail, 2 signal, 3 post."""
        return int(self.raw["type"])

    @property
    def subject(self) -> str:
        return str(self.raw.get("subject", ""))

    @property
    def group(self) -> Optional[str]:
        """Of a post: the group in whose log it came."""
        log: Optional[str] = self.raw.get("log")
        return log

    @property
    def seq(self) -> Optional[str]:
        """The place in the mailbox or in the group's log. The server alone compares places."""
        seq: Optional[str] = self.raw.get("seq")
        return seq

    @property
    def mine(self) -> bool:
        """A copy of a mail that another device of one's own address has sent to somebody else."""
        return self.type == MAIL and self.from_ == self._client.address and self.from_ not in self.to + self.cc

    @property
    def level(self) -> int:
        return int(self.raw.get("level", 0))

    @property
    def tags(self) -> List[str]:
        return list(self.raw.get("tags", ()))

    @property
    def state(self) -> int:
        return int(self.raw.get("state", 0))

    @property
    def receipt(self) -> Optional[int]:
        """The receipts that the sender has asked for: 2 delivered, 3 also read."""
        receipt: Optional[int] = self.raw.get("receipt")
        return receipt

    @property
    def references(self) -> Optional[str]:
        references: Optional[str] = self.raw.get("references")
        return references

    @property
    def in_reply_to(self) -> Optional[str]:
        """The id of the message that this one answers."""
        answered: Optional[str] = self.raw.get("inReplyTo")
        return answered

    @property
    def subject_id(self) -> Optional[str]:
        """The thread."""
        thread: Optional[str] = self.raw.get("subjectId")
        return thread

    @property
    def from_tag(self) -> str:
        """The sender's device or channel."""
        return str(self.raw.get("fromTag", ""))

    @property
    def sent_at(self) -> Optional[datetime]:
        return _time(self.raw.get("createTime"))

    @property
    def expires(self) -> Optional[datetime]:
        return _time(self.raw.get("expiresAt"))

    @property
    def other(self) -> Dict[str, Any]:
        """The fields of which the protocol says nothing: the application's own."""
        return {name: value for name, value in self.raw.items() if name not in _FIELDS}

    # -- content

    @property
    def content_type(self) -> Optional[int]:
        """0 text, 1 markdown, 2 HTML, 3 JSON, 4 image, 5 audio, 6 video, 7 other; 1000 and up are the application's."""
        kind: Optional[int] = self.raw.get("contentType")
        return kind

    @property
    def charset(self) -> str:
        return str(self.raw.get("charset", "utf-8"))

    @property
    def bytes(self) -> bytes:
        return base64.b64decode(self.raw.get("content", ""))

    @property
    def text(self) -> Optional[str]:
        """The content as text; None when it is an image, a file or the application's own."""
        if (self.content_type or TEXT) > JSON:
            return None
        try:
            return self.bytes.decode(self.charset, "replace")
        except LookupError:  # a charset that Python does not know
            return self.bytes.decode("utf-8", "replace")

    def json(self) -> Any:
        """The content, read as JSON; ValueError when it is none."""
        return json.loads(self.text if self.text is not None else self.bytes)

    @property
    def attachments(self) -> List[Mapping[str, Any]]:
        return list(self.raw.get("attachments", ()))

    @property
    def files(self) -> List[File]:
        """The attachments that carry bytes."""
        return [File(str(item.get("name", "")), base64.b64decode(item["content"]),
                     str(item.get("contentType", File.type)))
                for item in self.attachments if isinstance(item.get("content"), str)]

    # -- for handlers

    def reply(self, text: Optional[str] = None, **fields: Any) -> "Sending":
        """Answers: a mail to the sender, or a post to the group; in the same thread. Fields as of send()."""
        fields.setdefault("in_reply_to", self.id)
        if self.subject_id:
            fields.setdefault("subject_id", self.subject_id)
        fields.setdefault("subject", self.subject)
        if self.group is not None:
            return self._client.post(self.group, text=text, **fields)
        return self._client.send(self.from_, text=text, **fields)

    def mark_read(self) -> "Sending":
        """Tells the sender that a person has read this mail, if the sender asked for it (receipt 3).

        RejectedError `not-found` when the sender has not asked, or the mail is no longer in the mailbox.
        """
        return self._client._send_receipt(self)

    def keep(self, key: str, value: Optional[str]) -> None:
        """Writes a record of the application's in the same transaction in which this message becomes "handled".

        Also after kill -9 either the record is there and the message does not come again, or the record is not there and
        the message comes again. None removes the record. `storage.kept(key)` reads a record.
        """
        self._kept[key] = value


def _time(seconds: Any) -> Optional[datetime]:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc) if isinstance(seconds, int) else None
    except (OverflowError, OSError, ValueError):  # a year that datetime cannot hold
        return None
