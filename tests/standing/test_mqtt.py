"""Events to a real broker: mosquitto on a port of its own, with and without passwords, and away for a while."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from needs import needs, needs_broker
from vidmem.errors import DeliveryError, UsageError
from vidmem.memory import Memory
from vidmem.standing import Mqtt, mqtt
from vidmem.standing.delivery import Delivery

from .stage import event, wait_until, watched

client = needs("paho.mqtt.client")


class Broker:
    """A mosquitto. password: of the user `me`; nobody else is let in then."""

    def __init__(self, folder: Path, password: str = "") -> None:
        self.program, self._folder = needs_broker(), folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        lines = [f"listener {self.port} 127.0.0.1", "persistence true"]
        if password:
            words = folder / "passwords"
            tool = str(Path(self.program).parent.parent / "bin" / "mosquitto_passwd")
            subprocess.run([tool, "-b", "-c", words, "me", password], check=True, capture_output=True)
            words.chmod(0o644)
            lines += ["allow_anonymous false", f"password_file {words}"]
        else:
            lines.append("allow_anonymous true")
        lines += [f"persistence_location {folder}/", "autosave_interval 1"]
        if os.geteuid() == 0:
            lines.append("user root")
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self.program, "-c", str(self._folder / "mosquitto.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self, kill: bool = False) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            self._process.wait()
            self._process = None

    def url(self, login: str = "", topic: str = "home/vidmem") -> str:
        return f"mqtt://{login}127.0.0.1:{self.port}/{topic}"


class Listener:
    """Subscribes to all topics; what comes while it is away waits for it."""

    def __init__(self, broker: Broker, user: str = "", password: str = "") -> None:
        self.got: list[tuple[str, bytes]] = []
        self._ready = threading.Event()
        self._client = client.Client(client.CallbackAPIVersion.VERSION2, client_id="listener", clean_session=False)
        if user:
            self._client.username_pw_set(user, password)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda *_: self._client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _c, _d, message: self.got.append((message.topic, message.payload))
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        self.wait()

    def wait(self) -> None:
        """Until it is subscribed."""
        assert self._ready.wait(20)
        self._ready.clear()

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(payload) for topic, payload in self.got if topic == "home/vidmem"]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    made = Broker(tmp_path / "broker")
    made.start()
    yield made
    made.stop(kill=True)


def test_an_event_and_its_picture_arrive(broker: Broker) -> None:
    listener, sink = Listener(broker), Mqtt(broker.url())
    sink.open()
    sink.send(one := event(1, base64.b64encode(b"a picture").decode()))
    sink.send(two := event(2))
    wait_until(lambda: len(listener.got) == 3)
    sink.close()
    listener.close()
    assert listener.got[0] == ("home/vidmem/crop", b"a picture")
    assert listener.events() == [json.loads(one.to_json()), json.loads(two.to_json())]


def test_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(tmp_path / "broker", "s3cret@!")
    broker.start()
    try:
        listener = Listener(broker, "me", "s3cret@!")
        for login in ("me:s3cret%40%21@", "me@"):
            monkeypatch.setenv("VIDMEM_MQTT_PASSWORD", "s3cret@!")
            sink = Mqtt(broker.url(login))
            sink.open()
            sink.send(event())
            sink.close()
            assert "s3cret" not in sink.name
        wait_until(lambda: len(listener.events()) == 2)
        listener.close()
        monkeypatch.delenv("VIDMEM_MQTT_PASSWORD")
        for login in ("me:wr0ng@", ""):
            with pytest.raises(DeliveryError, match=r"cannot be used \(Not authorized\)") as caught:
                Mqtt(broker.url(login)).open()
            assert "wr0ng" not in str(caught.value)
    finally:
        broker.stop(kill=True)


def test_a_broker_that_is_not_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DeliveryError, match=r"refused.*check host, port, user and password"):
        Mqtt(f"mqtt://me:s3cret@127.0.0.1:{port}/home").open()
    with pytest.raises(DeliveryError, match="cannot be used") as caught:
        Mqtt("mqtt://me:s3cret@no-such-host.invalid/home").open()
    assert "s3cret" not in str(caught.value)


def test_a_broker_that_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.MonkeyPatch.context() as patch:
        patch.setattr(mqtt, "OPEN_TIMEOUT_S", 0.5)
        with pytest.raises(DeliveryError, match="no answer"):
            Mqtt(f"mqtt://127.0.0.1:{silent.getsockname()[1]}/home").open()


@pytest.mark.parametrize(
    "url",
    ["", "keys", "http://host/x", "mqtt://host", "mqtt://host/", "mqtt:///x", "mqtt://host/a/+/b", "mqtt://me:pw@host/%23",
     "mqtt://host:x/y", "mqtt://host/a?qos=2", "mqtt://me:pw@host/" + "x" * 2000],
)  # fmt: skip
def test_what_is_no_address_of_a_broker(url: str) -> None:
    with pytest.raises(UsageError, match="mqtt") as caught:
        Mqtt(url)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("kill", [False, True])
def test_a_broker_that_restarts_loses_nothing(broker: Broker, kill: bool) -> None:
    listener, sink = Listener(broker), Mqtt(broker.url(), timeout_s=0.3)
    sink.open()
    delivery = Delivery(sink, lambda event: None, first_pause_s=0.2)
    for number in range(4):
        delivery.put(event(number))
    wait_until(lambda: delivery.counts.delivered == 4)
    time.sleep(1.5 * kill)  # it saves who listens once a second
    broker.stop(kill=kill)
    for number in range(4, 8):
        delivery.put(event(number))
    wait_until(lambda: delivery.counts.retried > 0)
    assert delivery.counts.delivered == 4
    broker.start()
    wait_until(lambda: delivery.counts.delivered == 8)
    delivery.put(event(8))
    delivery.end(time.monotonic() + 20)
    wait_until(lambda: {row["id"] for row in listener.events()} == {event(i).id for i in range(9)})
    delivery.close()
    listener.close()
    assert (delivery.counts.failed, delivery.counts.dropped) == (0, 0)


def test_a_session_tells_a_broker(broker: Broker, tmp_path: Path, colours: None) -> None:
    listener = Listener(broker)
    with Memory.open(tmp_path / "memory", encoder="colours") as memory:
        stats = watched(memory, [["red"]] * 3 + [["blue"]] * 3, Mqtt(broker.url()), when=["red", "blue"])
    assert (stats.events, stats.delivered, stats.waiting) == (2, 2, 0)
    wait_until(lambda: len(listener.got) == 4)
    listener.close()
    assert [row["question"] for row in listener.events()] == ["red", "blue"]
    (jpeg, other) = (payload for topic, payload in listener.got if topic == "home/vidmem/crop")
    assert jpeg[:2] == other[:2] == b"\xff\xd8"
