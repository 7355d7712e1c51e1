"""PostOffice: mail, posts, signals and services over WebSocket, for asyncio. README.md begins with ten lines."""

from .client import PostOffice, Recall, Stats
from .errors import (ClosedError, OutboxFullError, PostOfficeError, Refusal, RejectedError, StorageError,
                     TokenError)
from .events import Acked, Gap, Handled, Recalled, Receipt, Replayed, State, Welcome
from .message import File, Message
from .outbox import Sending, Sent
from .service import Reply
from .storage import FileStorage, MemoryStorage, Storage

__version__ = "0.1.0"
__all__ = ["Acked", "ClosedError", "File", "FileStorage", "Gap", "Handled", "MemoryStorage", "Message",
           "OutboxFullError", "PostOffice", "PostOfficeError", "Recall", "Recalled", "Receipt", "Refusal",
           "RejectedError", "Replayed", "Reply", "Sending", "Sent", "State", "Stats", "Storage", "StorageError",
           "TokenError", "Welcome"]
