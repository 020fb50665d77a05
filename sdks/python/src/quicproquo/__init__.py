"""End-to-end encrypted messaging for bots, bridges and apps.

::

    import asyncio
    from quicproquo import Client, Incoming

    async def main() -> None:
        async with Client("~/bot", "password", server="127.0.0.1:7000", name="bot") as client:
            async for event in client.events():
                if isinstance(event, Incoming) and not event.own and event.text:
                    await event.reply(event.text)

    asyncio.run(main())
"""

from ._library import version
from .client import Client
from .errors import (
    AuthenticationFailed,
    Closed,
    Error,
    InternalError,
    InvalidRequest,
    NotFound,
    ProfileError,
    Refused,
    StorageFailed,
    TrustDecisionNeeded,
    TryLater,
)
from .linking import Linking
from .objects import (
    Comparison,
    Contact,
    Conversation,
    Device,
    Download,
    Event,
    Group,
    History,
    Incoming,
    Member,
    Message,
    PendingDevice,
    Profile,
    SafetyNumber,
    Sent,
    Status,
)

__all__ = [
    "AuthenticationFailed",
    "Client",
    "Closed",
    "Comparison",
    "Contact",
    "Conversation",
    "Device",
    "Download",
    "Error",
    "Event",
    "Group",
    "History",
    "Incoming",
    "InternalError",
    "InvalidRequest",
    "Linking",
    "Member",
    "Message",
    "NotFound",
    "PendingDevice",
    "Profile",
    "ProfileError",
    "Refused",
    "SafetyNumber",
    "Sent",
    "Status",
    "StorageFailed",
    "TrustDecisionNeeded",
    "TryLater",
    "version",
]
