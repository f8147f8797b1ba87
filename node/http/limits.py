"""What one peer may cost the HTTP server: every size, count and wait has its number here."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one listening service.

    header_bytes_max     request line and header lines together; also the trailers of a chunked body
    header_count_max     header lines; also trailer lines
    target_bytes_max     the request target
    chunk_extension_bytes_max  extensions of one chunk (they are ignored)
    header_timeout_s     from the first byte of a request (or the accept) to the end of its head
    idle_timeout_s       a connection between two requests
    body_idle_timeout_s  without a single byte while a handler waits for the body
    body_rate_min        bytes per second, averaged over the time in which a handler waited for the body, after body_rate_grace_s
    send_timeout_s       without a byte taken by the client while a handler sends
    send_rate_min        bytes per second that the client takes, averaged over the time in which a handler waited for it, after
                         send_rate_grace_s: who reads a byte now and then holds buffers and open chunks that others need
    connections_max      open connections; the longest idle one makes room, else new ones wait in the kernel's backlog
    drain_bytes_max      of an unread request body that are read and dropped to keep the connection
    linger_s, linger_bytes_max  how long and how much is read and dropped after the last reply, so that the client can read it
    sweep_s              how often the time-outs are looked at; it is also their precision
    drain_first_s        how long a connection that brought nothing yet may stay after a drain began
    drain_timeout_s      how long requests in flight may take after a drain began
    """

    header_bytes_max: int = 16 * KIB
    header_count_max: int = 100
    target_bytes_max: int = 8 * KIB
    chunk_extension_bytes_max: int = 256
    header_timeout_s: float = 10.0
    idle_timeout_s: float = 75.0
    body_idle_timeout_s: float = 30.0
    body_rate_min: int = 1 * KIB
    body_rate_grace_s: float = 15.0
    send_timeout_s: float = 60.0
    send_rate_min: int = 1 * KIB
    send_rate_grace_s: float = 120.0
    connections_max: int = 4096
    drain_bytes_max: int = 256 * KIB
    linger_s: float = 2.0
    linger_bytes_max: int = 16 * MIB
    sweep_s: float = 0.5
    drain_first_s: float = 0.5
    drain_timeout_s: float = 30.0
