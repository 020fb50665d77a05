"""The C functions as Python functions: JSON objects in and out, errors as exceptions. All of them block."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from . import errors

_native: Any = import_module("quicproquo._native")
_ffi, _lib = _native.ffi, _native.lib

_OK, _NO_EVENT = 0, 1
_ABI_VERSION = 1

if _lib.qpq_abi_version() != _ABI_VERSION:
    raise ImportError(f"libqpq has the ABI version {_lib.qpq_abi_version()}, this package needs {_ABI_VERSION}")


def version() -> str:
    """The version of the library."""
    return str(_ffi.string(_lib.qpq_version()).decode())


def enter(how: str, config: Mapping[str, Any]) -> int:
    """Opens a profile; ``how`` is ``open``, ``register`` or ``login``. The handle."""
    data, handle, out = _encode(config), _ffi.new("uint64_t *"), _ffi.new("QpqBuffer *")
    function = getattr(_lib, f"qpq_{how}")
    _check(function(data, len(data), handle, out), out)
    return int(handle[0])


def link(config: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Begins to link a new device: the handle, and the code."""
    data, handle, out = _encode(config), _ffi.new("uint64_t *"), _ffi.new("QpqBuffer *")
    reply = _check(_lib.qpq_link(data, len(data), handle, out), out)
    assert reply is not None, "a link has a code"
    return int(handle[0]), reply


def connect(handle: int) -> None:
    """Starts to connect."""
    _check(_lib.qpq_connect(handle), None)


def request(handle: int, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Carries out a request."""
    data, out = _encode(fields), _ffi.new("QpqBuffer *")
    reply = _check(_lib.qpq_request(handle, data, len(data), out), out)
    assert reply is not None, "a request has a reply"
    return reply


def next_event(handle: int, consumer: str, timeout_ms: int) -> dict[str, Any] | None:
    """The next event of a consumer; none when nothing came in time."""
    out = _ffi.new("QpqBuffer *")
    return _check(_lib.qpq_next_event(handle, consumer.encode(), timeout_ms, out), out)


def acknowledge(handle: int, consumer: str, position: int) -> None:
    """Everything up to this position has been dealt with."""
    out = _ffi.new("QpqBuffer *")
    _check(_lib.qpq_acknowledge(handle, consumer.encode(), position, out), out)


def event_fd(handle: int, consumer: str) -> int:
    """A descriptor that is readable when there may be events."""
    fd, out = _ffi.new("int32_t *"), _ffi.new("QpqBuffer *")
    _check(_lib.qpq_event_fd(handle, consumer.encode(), fd, out), out)
    return int(fd[0])


def cancel(handle: int) -> None:
    """Ends the calls that wait at this moment."""
    _check(_lib.qpq_cancel(handle), None)


def close(handle: int) -> None:
    """Ends everything."""
    _check(_lib.qpq_close(handle), None)


def _encode(fields: Mapping[str, Any]) -> bytes:
    # Half of a surrogate pair is no text: refused here as the library would refuse it.
    try:
        return json.dumps(fields, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise errors.InvalidRequest({"code": "bad_input", "status": 10, "text": str(error)}) from None


def _check(status: int, out: Any) -> dict[str, Any] | None:
    """The object in the buffer, which is given back; an exception when it is an error."""
    value: dict[str, Any] | None = None
    if out is not None and out.data:
        try:
            value = json.loads(_ffi.buffer(out.data, out.len)[:])
        finally:
            _lib.qpq_buffer_free(out)
    if status in (_OK, _NO_EVENT):
        return value
    code = _ffi.string(_lib.qpq_status_code(status)).decode()
    raise errors.of(value or {"code": code, "status": status})
