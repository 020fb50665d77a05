"""What can go wrong, by what the caller can do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Error(Exception):
    """The base of all errors. ``code`` is stable, the text is for people and says what to do next."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error.get("text", error["code"]))
        self.code: str = error["code"]
        self.status: int = error["status"]


class InvalidRequest(Error):
    """The request cannot be meant like this: correct the program, or ask its user again."""


class NotFound(Error):
    """There is no such user (``unknown_user``) or conversation (``unknown_conversation``)."""


class TryLater(Error):
    """No connection (``offline``), or it takes longer (``timed_out``). What was to be sent is stored and goes out by itself."""


class Refused(Error):
    """The server or the rules of the group said no (``refused``, ``name_taken``), or a file is in the way (``file_exists``)."""


class AuthenticationFailed(Error):
    """The password is wrong (``wrong_password``), or the server does not know this device (``device_unknown``)."""


class TrustDecisionNeeded(Error):
    """The name now belongs to another identity, or the server has another certificate.

    Nothing is sent until a person has decided; see :meth:`quicproquo.Client.verify` and :meth:`quicproquo.Client.trust`.
    """

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error)
        self.name: str | None = error.get("name")
        self.old_id: str | None = error.get("old_id")
        self.new_id: str | None = error.get("new_id")


class ProfileError(Error):
    """The directory has no profile (``no_profile``), has one already (``profile_exists``), or it is open (``profile_in_use``)."""


class StorageFailed(Error):
    """The disk is full (``disk_full``), or the profile cannot be read or written (``store``)."""


class Closed(Error):
    """The client is closed, or was closed during the call."""


class InternalError(Error):
    """A defect of the library. Please report it."""


_CLASSES: dict[str, type[Error]] = {
    "bad_input": InvalidRequest,
    "null_pointer": InvalidRequest,
    "invalid_utf8": InvalidRequest,
    "bad_handle": Closed,
    "canceled": Closed,
    "offline": TryLater,
    "timed_out": TryLater,
    "refused": Refused,
    "name_taken": Refused,
    "file_exists": Refused,
    "wrong_password": AuthenticationFailed,
    "device_unknown": AuthenticationFailed,
    "trust_decision": TrustDecisionNeeded,
    "certificate": TrustDecisionNeeded,
    "no_profile": ProfileError,
    "profile_exists": ProfileError,
    "profile_in_use": ProfileError,
    "unknown_user": NotFound,
    "unknown_conversation": NotFound,
    "disk_full": StorageFailed,
    "store": StorageFailed,
}


def of(error: Mapping[str, Any]) -> Error:
    """The exception for an error object of the library."""
    return _CLASSES.get(error["code"], InternalError)(error)
