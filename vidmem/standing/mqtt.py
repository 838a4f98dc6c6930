"""Events to an MQTT broker, with QoS 1: each is sent until the broker confirms it."""

from __future__ import annotations

import base64
import os
import ssl
import threading
import time
from typing import Any
from urllib.parse import unquote, urlsplit

from ..encoders.extras import needing
from ..errors import DeliveryError, UsageError
from ..http_post import why
from .event import StandingEvent
from .sink import Sink, Undelivered

PASSWORD = "VIDMEM_MQTT_PASSWORD"
"""Environment variable with the password, where the URL has a user alone: other users can see a command line."""
TIMEOUT_S = 10.0
"""Time for one attempt in seconds."""
OPEN_TIMEOUT_S = 5.0
"""Time for the connection that is tried at the start, in seconds."""
_FORM = "mqtt://HOST/TOPIC or mqtts://HOST/TOPIC, with USER@ or USER:PASSWORD@ before HOST and :PORT after it"
_MAX_TOPIC = 1024


class Mqtt(Sink):
    """Publishes each event as JSON to a topic, and its picture as JPEG to TOPIC/crop. Nothing is retained.

    A connection that breaks is made again, as long as the session runs.

    Args:
        url: As "mqtt://user:password@host:1883/home/vidmem"; mqtts for TLS. Messages never show user and password.
        timeout_s: Time for one attempt in seconds.

    Raises:
        UsageError: The URL is of another form.
        ModelError: paho-mqtt is not installed.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or parts.scheme not in ("mqtt", "mqtts") or parts.query or parts.fragment:
            raise UsageError(f"`mqtt` is {_FORM}; write other characters of a password as %40")
        self._topic = unquote(parts.path.removeprefix("/"))
        if (
            not self._topic
            or len(self._topic.encode("utf-8", "replace")) > _MAX_TOPIC
            or set("+#\0") & set(self._topic)
        ):
            raise UsageError(f"`mqtt` ends in a topic, such as home/vidmem, without + and #: {_FORM}")
        secure = parts.scheme == "mqtts"
        self._host, self._port = host, port or (8883 if secure else 1883)
        self.name = f"{parts.scheme}://{host}:{self._port}/{self._topic}"
        self._timeout_s = timeout_s
        self._changed = threading.Condition()
        self._connected, self._refused = False, ""
        self._confirmed: set[int] = set()
        self._sent: tuple[str, list[int]] = ("", [])
        self._client = self._made(secure, parts.username, parts.password)

    def _made(self, secure: bool, user: str | None, password: str | None) -> Any:
        with needing("mqtt", "`mqtt`"):
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        client = Client(CallbackAPIVersion.VERSION2)
        if user:
            secret = os.environ.get(PASSWORD) if password is None else unquote(password)
            client.username_pw_set(unquote(user), secret)
        if secure:
            client.tls_set_context(ssl.create_default_context())
        client.connect_timeout = OPEN_TIMEOUT_S
        client.reconnect_delay_set(1, 30)
        client.max_queued_messages_set(8)  # one event at a time; paho would keep any number
        client.on_connect, client.on_disconnect, client.on_publish = self._on_connect, self._on_end, self._on_publish
        return client

    def open(self) -> None:
        """Connect. Raises DeliveryError if the broker is not there, or refuses."""
        try:
            self._client.connect(self._host, self._port, keepalive=30)
        except (OSError, ValueError) as error:
            raise self._unreachable(why(error)) from None
        self._client.loop_start()
        with self._changed:
            self._changed.wait_for(lambda: self._connected or bool(self._refused), OPEN_TIMEOUT_S)
            connected, refused = self._connected, self._refused
        if not connected:
            self.close()
            raise self._unreachable(refused or "no answer")

    def _unreachable(self, reason: str) -> DeliveryError:
        return DeliveryError(
            f"the broker of `mqtt` cannot be used ({reason}); check host, port, user and password: {self.name}"
        )

    def send(self, event: StandingEvent) -> None:
        """Publish the event and wait until the broker confirms it. One that was sent already is only waited for."""
        deadline = time.monotonic() + self._timeout_s
        with self._changed:
            if not self._changed.wait_for(lambda: self._connected, self._timeout_s):
                raise Undelivered(f"no connection ({self._refused or 'the broker is away'})", again=True)
        if self._sent[0] != event.id:
            self._sent = event.id, self._publish(event)
        with self._changed:
            wanted = set(self._sent[1])
            if not self._changed.wait_for(lambda: wanted <= self._confirmed, max(0.0, deadline - time.monotonic())):
                raise Undelivered("the broker does not confirm it", again=True)
            self._confirmed -= wanted
        self._sent = "", []

    def _publish(self, event: StandingEvent) -> list[int]:
        """Hand the messages to the client, which sends them again after a reconnection; return their numbers."""
        messages: list[tuple[str, bytes]] = []
        if event.crop is not None:  # first: whoever reacts to the event finds its picture
            messages.append((f"{self._topic}/crop", base64.b64decode(event.crop)))
        messages.append((self._topic, event.to_json().encode()))
        numbers = []
        for topic, payload in messages:
            try:
                info = self._client.publish(topic, payload, qos=1)
            except ValueError as error:  # too long, or a topic that is none
                raise Undelivered(str(error), again=False) from None
            if info.rc == _QUEUE_FULL:
                raise Undelivered("too many messages wait for the broker", again=True)
            numbers.append(info.mid)
        return numbers

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        with self._changed:
            self._connected = not reason.is_failure
            self._refused = str(reason) if reason.is_failure else ""
            self._changed.notify_all()

    def _on_end(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        with self._changed:
            self._connected = False

    def _on_publish(self, client: Any, data: Any, number: int, reason: Any, properties: Any) -> None:
        with self._changed:
            self._confirmed.add(number)
            self._changed.notify_all()


_QUEUE_FULL = 15
"""MQTT_ERR_QUEUE_SIZE of paho."""
