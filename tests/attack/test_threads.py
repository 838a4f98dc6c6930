"""One Memory and many that ask it: every answer is of one committed state, and a closed memory says so."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from encoders import fake

from vidmem import Memory
from vidmem.encoders import registry
from vidmem.errors import ModelMismatchError, StoreError

from .asking import Asked, attack, judge, rehearse
from .world import World

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.make(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def states(world: World, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    return rehearse(world, tmp_path_factory.mktemp("rehearsal") / "memory", short=True)


@pytest.mark.parametrize(
    "way",
    [{"threads": 6}, {"threads": 6, "writer_elsewhere": True}, {"threads": 1, "processes": 2}],
    ids=["same process", "another process", "many processes"],
)
def test_every_answer_is_of_one_state(
    world: World, states: list[dict[str, str]], tmp_path: Path, way: dict[str, Any]
) -> None:
    found = attack(world, tmp_path / "memory", states, short=True, **way)
    assert found.questions > 20
    assert found.wrong == []


def test_a_mix_of_two_states_is_noticed() -> None:
    states = [{"q": "old"}, {"q": "new"}, {"q": "last"}]
    moments = [(10, 12), (20, 22)]
    right: list[Asked] = [("q", 0, 9, "old"), ("q", 11, 11, "old"), ("q", 11, 11, "new"), ("q", 5, 30, "new")]
    assert judge(right, moments, states).wrong == []
    bad: list[Asked] = [("q", 0, 9, "new"), ("q", 13, 15, "old"), ("q", 0, 30, "mixed"), ("q", 23, 24, "new")]
    assert len(judge(bad, moments, states).wrong) == 4


def test_closing_while_others_ask_is_an_error_of_one_line(world: World, tmp_path: Path) -> None:
    with registry.registered(fake.SPEC), Memory.open(tmp_path / "memory", encoder="fake:look") as m:
        m.index(world["a.mp4"])
        usual, begun, ends = m.where("red").sightings, threading.Barrier(5), []

        def ask() -> None:
            begun.wait()
            try:
                while True:
                    assert m.where("red").sightings == usual
            except BaseException as error:
                ends.append(error)

        pool = [threading.Thread(target=ask) for _ in range(4)]
        for thread in pool:
            thread.start()
        begun.wait()
        m.close()
        for thread in pool:
            thread.join(30)
        assert [type(end) for end in ends] == [StoreError] * 4
        assert all("is closed; open it again" in str(end) for end in ends)
        with pytest.raises(StoreError, match="is closed; open it again"):
            m.where("red")


def test_a_memory_follows_the_encoder_that_another_process_gave_it(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    with registry.registered(fake.SPEC):
        with Memory.open(folder, encoder="fake:look") as m:
            m.index(world["a.mp4"])
        with Memory.open(folder, read_only=True) as asked:
            before = asked.where("red")
            assert asked.text_encoder.info.name == "fake:look"
            with Memory.open(folder) as m:
                m.reembed("fake:look2")
            after = asked.where("red")
            assert asked.text_encoder.info.name == "fake:look2"
            with Memory.open(folder, read_only=True) as fresh:
                assert after.sightings == fresh.where("red").sightings
            assert [s.frame_ns for s in before] == [s.frame_ns for s in after]


def test_an_encoder_whose_weights_are_others_here_is_refused(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    with registry.registered(fake.SPEC):
        with Memory.open(folder, encoder="fake:look") as m:
            m.index(world["a.mp4"])
        with Memory.open(folder, read_only=True) as asked:
            asked.where("red")
            with Memory.open(folder) as m:
                made = m.store.model()
                assert made is not None
                assert m.store._conn is not None
                m.store._conn.execute("UPDATE model SET weights = 'others'")
            with pytest.raises(ModelMismatchError, match="the memory was made otherwise"):
                asked.where("red")
