from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import pytest

from scale.equal import InlinePool, rows_of, settings, single
from vidmem.errors import ModelMismatchError, StoreError, WorkerError
from vidmem.fleet.catalogue import Catalogue
from vidmem.scale import driver as drivers
from vidmem.scale.driver import Driver, Limits, Watchers
from vidmem.scale.held import Held
from vidmem.scale.indexing import _listed, _planned, _record
from vidmem.scale.leases import Leases
from vidmem.scale.manifest import entries
from vidmem.scale.plan import ShardTask
from vidmem.scale.pool import Event, Finished, Job, Lost, Raised, Refused
from vidmem.scale.reports import FleetReport, FleetSourceReport
from vidmem.scale.settings import Settings
from vidmem.scale.worker import At, Worker

pytestmark = pytest.mark.usefixtures("colours")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fleet") / "videos"
    folder.mkdir()
    for number, colour in enumerate(("red", "blue", "green", "cyan")):
        fakes.squares(folder / f"{number}.mp4", [(colour, 0, 2, 8 + 20 * number), ("white", 1, 3, 60)], 3)
    return folder


LIMITS = Limits()


class Fleet:
    """A catalogue with all that a run needs, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.to = folder, str(folder / "shards")
        self.notes: list[str] = []
        self.catalogue = Catalogue.open(folder / "c.catalogue", create=True)
        self.settings = settings()

    def worker(self, settings: Settings | None = None) -> Worker:
        return Worker(settings or self.settings, str(self.folder / "work"), self.to, 1)

    def run(
        self,
        *paths: Path,
        plan: Callable[[Job], Event | None] = lambda job: None,
        limits: Limits = LIMITS,
        group_s: float = 60.0,
        lease_s: float = 60.0,
        pool: InlinePool | None = None,
    ) -> FleetReport:
        pool = pool or InlinePool(self.worker())
        pool.plan = plan
        worker = pool.worker
        listed = worker.find(entries(paths))
        listed.refused += (measured := worker.measure(listed.inputs)).refused
        listed.inputs = measured.inputs
        self.catalogue.claim(_record(self.settings))
        held = Held(self.catalogue)
        tasks, reports = _planned(listed, self.settings, held, group_s)
        with Leases(self.catalogue, lease_s) as leases:
            watchers = Watchers(note=self.notes.append)
            made = Driver(self.catalogue, leases, pool, self.settings, self.to, tasks, held, limits, watchers).run()
        return replace(made, sources=(*reports, *made.sources))

    def rows(self) -> dict[str, Any]:
        """What all ready shards have, by source."""
        found: dict[str, Any] = {}
        for row in self.catalogue.shards():
            more = rows_of(Path(row.uri) / "memory.sqlite")
            assert not found.keys() & more.keys()
            found |= more
        return found


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path / "fleet")
    (tmp_path / "fleet").mkdir(exist_ok=True)
    yield made
    made.catalogue.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drivers, "_BACK_OFF_S", 0.01)
    monkeypatch.setattr(drivers, "_LOOK_S", 0.05)


def _states(report: FleetReport) -> dict[str, str]:
    return {Path(source.source).name: source.state for source in report.sources}


def test_shards_are_what_one_process_makes(fleet: Fleet, videos: Path, tmp_path: Path) -> None:
    report = fleet.run(videos, group_s=7)
    assert _states(report) == {f"{n}.mp4": "done" for n in range(4)}
    assert len(report.shards) == 2
    assert fleet.rows() == single(tmp_path / "single", videos)
    assert os.listdir(fleet.folder / "work") == []
    again = fleet.run(videos, group_s=7)
    assert (set(_states(again).values()), again.shards) == ({"known"}, ())
    assert len(fleet.catalogue.shards(ready=False)) == 2


def test_what_is_added_to_a_list_makes_a_shard_of_its_own(fleet: Fleet, videos: Path) -> None:
    first = [videos / f"{n}.mp4" for n in range(3)]
    fleet.run(*first)
    report = fleet.run(*first, videos / "3.mp4")
    assert sorted(_states(report).values()) == ["done", "known", "known", "known"]
    assert len(fleet.catalogue.shards()) == 2


def test_a_bad_video_costs_only_itself(fleet: Fleet, videos: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(videos, tmp_path / "mixed"))
    (folder / "bad.mp4").write_bytes(b"no video")
    report = fleet.run(folder)
    assert _states(report)["bad.mp4"] == "failed"
    assert "not a video" in report.failed[0].error
    assert sorted(_states(report).values()) == [*["done"] * 4, "failed"]
    assert _states(fleet.run(folder))["bad.mp4"] == "failed"  # it is tried again, and told again


def test_a_video_that_breaks_after_it_was_opened_leaves_the_rest(
    fleet: Fleet, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidmem.media.video import VideoSource

    whole = VideoSource.frames

    def frames(self: VideoSource, *args: Any, **options: Any) -> Iterator[Any]:
        for number, frame in enumerate(whole(self, *args, **options)):
            if self.path.endswith("1.mp4") and number == 5:
                raise ValueError("what nobody foresaw")
            yield frame

    monkeypatch.setattr(VideoSource, "frames", frames)
    report = fleet.run(videos)
    assert _states(report) == {"0.mp4": "done", "1.mp4": "failed", "2.mp4": "done", "3.mp4": "done"}
    assert "what nobody foresaw" in report.failed[0].error
    assert {Path(uri).name for uri in fleet.rows()} == {"0.mp4", "2.mp4", "3.mp4"}


def test_copies_are_indexed_once(fleet: Fleet, videos: Path, tmp_path: Path) -> None:
    shutil.copy(videos / "0.mp4", tmp_path / "copy.mp4")
    report = fleet.run(videos, tmp_path / "copy.mp4")
    assert _states(report)["copy.mp4"] == "copy"


def test_lines_of_a_list_say_when_it_was_recorded(fleet: Fleet, videos: Path, tmp_path: Path) -> None:
    listed = tmp_path / "l.csv"
    listed.write_text(f"path,recorded\n{videos / '0.mp4'},2026-01-31T08:30Z\n{tmp_path / 'none.mp4'},\n")
    report = fleet.run(listed)
    assert [(s.state, s.line) for s in report.sources] == [("failed", 3), ("done", 2)]
    assert "line 3: no such file" in report.failed[0].error
    (source,) = fleet.catalogue.sources()
    assert (source.row.start_ns, source.row.recorded_by) == (1_769_848_200_000_000_000, "given")


def test_photos_are_a_shard_that_is_replaced(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    fakes.photo(folder / "a.png", "red")
    fakes.photo(folder / "b.png", "blue", "green")
    assert fleet.run(folder).sources[0].frames == 2
    assert fleet.rows() == single(tmp_path / "one", folder)
    assert fleet.run(folder).sources[0].state == "known"
    fakes.photo(folder / "c.png", "cyan")
    assert fleet.run(folder).sources[0].frames == 3
    assert fleet.rows() == single(tmp_path / "two", folder)
    (folder / "c.png").unlink()  # as it was first: that shard was replaced and is made again
    assert fleet.run(folder).sources[0].frames == 2
    assert fleet.rows() == single(tmp_path / "three", folder)


def test_a_video_that_changed_replaces_its_shard(fleet: Fleet, videos: Path, tmp_path: Path) -> None:
    video = Path(shutil.copy(videos / "0.mp4", tmp_path / "v.mp4"))
    fleet.run(video)
    shutil.copy(videos / "1.mp4", video)
    assert fleet.run(video).sources[0].state == "done"
    assert fleet.rows() == single(tmp_path / "one", video)


def test_a_changed_video_among_others_is_told(fleet: Fleet, videos: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(videos, tmp_path / "v"))
    fleet.run(folder)
    fakes.squares(folder / "0.mp4", [("brown", 0, 3, 8)], 3)
    fleet.run(folder)
    assert any("shard 1 still holds a former state of 1 of its 4 sources" in note for note in fleet.notes)


@pytest.mark.usefixtures("colours")
def test_logs_are_split_by_topic(fleet: Fleet, tmp_path: Path) -> None:
    from media import make_logs

    log = make_logs.scene(tmp_path / "run.mcap", [("red", 0, 2, 8)], 2, topics=("/cam/a", "/cam/b", "/rear"))
    report = fleet.run(log, group_s=1)
    assert {source.source.partition("#")[2] for source in report.sources} == {"/cam/a", "/cam/b", "/rear"}
    assert len(report.shards) == 3
    assert fleet.rows() == single(tmp_path / "one", log, topics=["*"])
    listed = tmp_path / "l.jsonl"
    listed.write_text(f'{{"path": "{log}", "topics": ["/cam/*"]}}\n{{"path": "{log}", "topics": ["/none"]}}\n')
    assert sorted(source.state for source in fleet.run(listed).sources) == ["failed", "known", "known"]


def test_long_videos_are_encoded_in_stretches(fleet: Fleet, tmp_path: Path) -> None:
    fleet.settings = replace(fleet.settings, config=replace(fleet.settings.config, checkpoint_frames=8))
    path = fakes.squares(tmp_path / "long.mp4", [("red", 0, 9, 8), ("blue", 5, 16, 90)], 16)
    lost = {"stretch", "cut", "shard"}

    def plan(job: Job) -> Event | None:  # each kind of job is lost once
        if job.method in lost:
            lost.remove(job.method)
            return Lost(job, "x:1", "killed", At())
        return None

    pool = InlinePool(fleet.worker())
    report = fleet.run(path, plan=plan, limits=Limits(span_s=4, split_s=8), pool=pool)
    assert [pool.done.count(kind) for kind in ("cut", "stretch", "shard")] == [2, 4, 2]
    assert (report.lost_workers, report.retries, report.encoded_again) == (3, 3, 0)
    assert report.looked_up > 0
    assert fleet.rows() == single(tmp_path / "one", path, config=fleet.settings.config)
    assert not (fleet.folder / "shards/.pieces").exists()


def test_stretches_that_are_there_are_not_encoded_again(fleet: Fleet, tmp_path: Path) -> None:
    fleet.settings = replace(fleet.settings, config=replace(fleet.settings.config, checkpoint_frames=8))
    path = fakes.squares(tmp_path / "long.mp4", [("red", 0, 9, 8)], 12)
    limits = Limits(span_s=4, split_s=8)

    def stop(job: Job) -> Event | None:
        if job.method == "shard":
            raise KeyboardInterrupt
        return None

    with pytest.raises(KeyboardInterrupt):
        fleet.run(path, plan=stop, limits=limits)
    pieces = list((fleet.folder / "shards/.pieces").rglob("*"))
    before = {piece: piece.stat().st_mtime_ns for piece in pieces if piece.is_file()}
    assert len(before) == 3
    seen: list[dict[Path, int]] = []

    def look(job: Job) -> Event | None:
        if job.method == "shard":
            seen.append({piece: piece.stat().st_mtime_ns for piece in before})
        return None

    assert fleet.run(path, plan=look, limits=limits).looked_up > 0
    assert seen == [before]


def test_a_lost_task_continues_after_its_last_checkpoint(fleet: Fleet, videos: Path, tmp_path: Path) -> None:
    """A worker that dies leaves its memory; on the same machine the next one goes on there."""
    from vidmem.media import video as module

    class Died(BaseException):
        pass

    opened: list[str] = []
    whole = module.VideoSource.frames

    def frames(self: Any, *args: Any, **options: Any) -> Iterator[Any]:
        opened.append(Path(self.path).name)
        if opened.count("2.mp4") == 1 and opened[-1] == "2.mp4":
            raise Died
        return whole(self, *args, **options)

    pool = InlinePool(fleet.worker())

    def plan(job: Job) -> Event | None:
        try:
            return Finished(job, "x:2", pool.worker.shard(*job.arguments))
        except Died:
            return Lost(job, "x:1", "killed", At("", 5, 1))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.VideoSource, "frames", frames)
        report = fleet.run(videos, plan=plan, pool=pool)
    assert opened == ["0.mp4", "1.mp4", "2.mp4", "2.mp4", "3.mp4"]
    assert (report.lost_workers, report.sources[0].tries) == (1, 2)
    assert fleet.rows() == single(tmp_path / "one", videos)


def test_what_kills_its_worker_fails_and_the_rest_does_not(fleet: Fleet, videos: Path) -> None:
    def plan(job: Job) -> Event | None:
        names = [Path(given.name).name for given in job.arguments[0].inputs]
        return Lost(job, "x:1", "killed", At()) if "2.mp4" in names else None

    report = fleet.run(videos, plan=plan)
    assert _states(report) == {"0.mp4": "done", "1.mp4": "done", "2.mp4": "failed", "3.mp4": "done"}
    (failed,) = report.failed
    assert failed.error == f"workers died 6 times in a row; check their memory, or the file: {failed.source}"
    assert any("its sources go alone now" in note for note in fleet.notes)


def test_deaths_do_not_count_while_there_is_progress(fleet: Fleet, videos: Path) -> None:
    deaths = iter(range(1, 20))

    def plan(job: Job) -> Event | None:
        at = next(deaths, None)
        return None if at is None else Lost(job, "x:1", "killed", At("", at, at))

    report = fleet.run(videos / "0.mp4", plan=plan)
    assert (report.sources[0].state, report.sources[0].tries) == ("done", 20)


def test_errors_are_tried_again_and_then_fail(fleet: Fleet, videos: Path) -> None:
    def plan(job: Job) -> Event | None:
        return Raised(job, "x:1", StoreError("the disk is full"))

    report = fleet.run(videos / "0.mp4", plan=plan, limits=Limits(tries=3))
    (source,) = report.sources
    assert (source.state, source.error, source.tries) == ("failed", "the disk is full", 3)
    (row,) = fleet.catalogue.shards(ready=False)
    assert (row.state, row.error) == ("failed", "the disk is full")
    assert fleet.run(videos / "0.mp4").sources[0].state == "done"  # and can be leased again


def test_a_folder_for_unfinished_memories_that_cannot_be_made(fleet: Fleet, videos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    worker = Worker(settings(), str(tmp_path / "file"), str(tmp_path / "to"), None)
    (given,) = worker.measure(worker.find(entries([videos / "0.mp4"])).inputs).inputs
    with pytest.raises(StoreError, match=r"unfinished memories cannot be made \(Not a directory\); .*file/abc$"):
        worker.shard(ShardTask("abc", (given,)))


def test_workers_with_other_weights_refuse(fleet: Fleet, videos: Path) -> None:
    worker = fleet.worker(replace(fleet.settings, weights="00" * 32))
    pool = InlinePool(worker)

    def plan(job: Job) -> Event | None:
        pool.refused = True
        return None

    with pytest.raises(WorkerError, match=r"is not used: its encoder `colours` has other weights \(c0c0c0"):
        fleet.run(videos / "0.mp4", plan=plan, pool=pool)


def test_workers_with_another_vidmem_or_without_the_encoder_refuse(fleet: Fleet) -> None:
    with pytest.raises(WorkerError, match=r"it has vidmem .*, not 9\.9; install the same everywhere"):
        fleet.worker(replace(fleet.settings, version="9.9")).hello()
    with pytest.raises(WorkerError, match="no encoder 'nothing'"):
        fleet.worker(replace(fleet.settings, encoder="nothing")).hello()
    assert fleet.worker().hello().pid == os.getpid()


def test_planning_gives_up_if_all_workers_refuse(fleet: Fleet) -> None:
    class Pool(InlinePool):
        def wait(self, seconds: float) -> list[Event]:
            self.refused = True
            return [Refused("other weights")]

    with pytest.raises(WorkerError, match="other weights"):
        _listed(Pool(fleet.worker()), entries([fleet.folder]))


def test_a_video_that_kills_whoever_opens_it_costs_only_itself(fleet: Fleet, videos: Path) -> None:
    def plan(job: Job) -> Event | None:
        names = [Path(given.name).name for given in job.arguments[0]] if job.method == "measure" else []
        return Lost(job, "x:1", "killed", At()) if "2.mp4" in names else None

    pool = InlinePool(fleet.worker(), plan)
    listed = _listed(pool, entries([videos]))
    assert [Path(given.name).name for given in listed.inputs] == ["0.mp4", "1.mp4", "3.mp4"]
    assert "workers died 5 times at opening it" in listed.refused[0].cause
    assert pool.done.count("measure") == 5 + 3 + 5
    with pytest.raises(WorkerError, match="died 5 times at listing"):
        _listed(InlinePool(fleet.worker(), lambda job: Lost(job, "x:1", "killed", At())), entries([videos]))


def test_a_fleet_of_another_encoder_is_refused(fleet: Fleet, videos: Path) -> None:
    fleet.run(videos / "0.mp4")
    with pytest.raises(ModelMismatchError, match="reembed"):
        fleet.catalogue.claim(replace(_record(fleet.settings), encoder="tiny", weights="11" * 32))


def test_two_drivers_share_the_work(fleet: Fleet, videos: Path, tmp_path: Path) -> None:
    other = Fleet.__new__(Fleet)
    other.__dict__ |= fleet.__dict__ | {"catalogue": Catalogue.open(fleet.folder / "c.catalogue"), "notes": []}
    reports: dict[str, FleetReport] = {}
    both = threading.Barrier(2)
    first: list[str] = []

    def together(who: str) -> Callable[[Job], Event | None]:
        def plan(job: Job) -> Event | None:
            if who not in first:
                first.append(who)
                both.wait(20)  # each has one task before either ends
            return None

        return plan

    def work(who: str, mine: Fleet) -> None:
        reports[who] = mine.run(videos, group_s=1, plan=together(who))

    threads = [threading.Thread(target=work, args=pair) for pair in (("a", fleet), ("b", other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    done = [s.source for report in reports.values() for s in report.sources if s.state == "done"]
    assert len(done) == len(set(done)) == 4
    assert all(len(report.sources) == 4 for report in reports.values())
    assert all(report.shards for report in reports.values())
    assert fleet.rows() == single(tmp_path / "one", videos)
    other.catalogue.close()


def test_the_lease_of_a_dead_driver_is_taken_over(fleet: Fleet, videos: Path) -> None:
    from vidmem.scale.plan import key_of

    worker = fleet.worker()
    given = worker.measure(worker.find(entries([videos / "0.mp4"])).inputs).inputs
    assert fleet.catalogue.lease(key_of(given, fleet.settings), "dead", 1.0, {}) is not None
    report = fleet.run(videos / "0.mp4")
    assert (report.sources[0].state, fleet.catalogue.shards()[0].lease_owner.partition(":")[0] != "dead") == (
        "done",
        True,
    )


def test_leases_are_renewed_while_the_driver_lives(fleet: Fleet) -> None:
    with Leases(fleet.catalogue, 0.4) as leases:
        assert leases.take("k", {})
        threading.Event().wait(1.0)
        assert fleet.catalogue.lease("k", "other", 1, {}) is None
    assert fleet.catalogue.lease("k", "other", 1, {}) is not None  # given back at the end


def test_progress_and_reports_are_told(fleet: Fleet, videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    sources: list[FleetSourceReport] = []
    clock = iter(range(10_000))
    monkeypatch.setattr(drivers.time, "monotonic", lambda: next(clock))
    worker = fleet.worker()
    given = worker.measure(worker.find(entries([videos])).inputs)
    held = Held(fleet.catalogue)
    tasks, _ = _planned(given, fleet.settings, held, 4)
    with Leases(fleet.catalogue) as leases:
        watchers = Watchers(told.append, sources.append)
        pool = InlinePool(worker)
        Driver(fleet.catalogue, leases, pool, fleet.settings, fleet.to, tasks, held, Limits(), watchers).run()
    assert [at.sources for at in told] == [1, 2, 3, 4]
    assert told[-1].done_s == pytest.approx(told[-1].total_s)
    assert told[-1].eta_s == 0
    assert told[1].eta_s > 0
    assert len(sources) == 4
