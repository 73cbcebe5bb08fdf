"""What keeps the models of a server: nothing that fails in one of them ends that, or keeps another from being closed."""

import asyncio
import signal
import sys

import pytest

from inceptions.serving.app import create_app
from inceptions.serving.gate import Drain
from inceptions.serving.models import Models
from inceptions.serving.problems import Problem
from inceptions.serving.process import Process
from inceptions.serving.server import Server, _configure, listen
from inceptions.serving.settings import Settings
from inceptions.serving.worker import Order, version_name
from inceptions.weights.card import CARD_NAME, read_card
from tests.serving.processes import FakeProcess
from tests.tiny import save_tiny

ORDER = Order("answer", "", None, 2.0, 50.0)


@pytest.fixture
def make_models(tmp_path, monkeypatch):
    """Make models of a server whose processes are fakes: names in, the models and the list of processes out."""

    def make(*names):
        folders, processes = {name: save_tiny(tmp_path / name) for name in names}, []

        async def start(order):
            processes.append(FakeProcess(3, version=version_name(order_folder(order, folders))))
            return processes[-1]

        monkeypatch.setattr("inceptions.serving.models.start_process", start)
        return Models(folders, ORDER, settings=Settings(watch_s=0.001)), processes

    return make


def order_folder(order, folders):
    return next(folder for folder in folders.values() if str(folder) == order.folder)


async def first_of(task: asyncio.Task, condition) -> None:
    """Wait until the task has ended or the condition holds."""
    while not task.done() and not condition():
        await asyncio.sleep(0.001)


def test_a_new_version_that_fails_in_a_way_nobody_thought_of_leaves_the_model_looked_after(make_models, monkeypatch, caplog):
    models, processes = make_models("a")
    model = models["a"]
    failures = [TypeError("unhashable\ntype"), TypeError("again")]

    def read(folder):
        if failures:
            raise failures.pop(0)
        return read_card(folder)

    async def run():
        async with models.running():
            monkeypatch.setattr("inceptions.serving.models.read_card", read)
            monkeypatch.setattr("inceptions.serving.models._LONGEST_WAIT_S", 0.0)
            card = model.folder / CARD_NAME
            card.write_text(card.read_text() + "\n")
            await first_of(model._keeping, lambda: len(failures) == 1)  # it is looked at
            processes[0].ended.set()
            await first_of(model._keeping, lambda: len(processes) == 2 and model.is_ready)
            assert not model._keeping.done()

    asyncio.run(run())
    told = [record.getMessage() for record in caplog.records if "looking after it failed" in record.getMessage()]
    assert len(told) == 2
    assert "TypeError: unhashable" in told[0]
    assert "\n" not in told[0]


def test_waits_between_failures_grow_to_half_a_minute_and_stay_so(make_models, monkeypatch):
    model, waits = make_models("a")[0]["a"], []

    async def fail():
        raise RuntimeError

    async def wait(seconds):
        waits.append(seconds)
        if len(waits) == 1100:  # where 2 to the power of it is no float any more
            raise asyncio.CancelledError

    monkeypatch.setattr(model, "_look_after", fail)
    monkeypatch.setattr("inceptions.serving.models.asyncio.sleep", wait)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(model._keep())
    assert waits[:7] == [1, 2, 4, 8, 16, 30, 30]
    assert waits[-1] == 30


def test_a_model_that_cannot_be_closed_keeps_no_other_from_it(make_models, caplog):
    models, processes = make_models("a", "b")

    async def fail(**_):
        raise RuntimeError("no")

    async def run():
        async with models.running():
            processes[0].close = fail

    asyncio.run(run())
    assert processes[1].is_closed
    assert "a: a process could not be closed (RuntimeError: no)" in caplog.text


def test_processes_have_as_long_to_end_as_the_server_has_and_a_few_seconds_at_most(make_models):
    for ends, least, most in ((float("inf"), 5, 5), (0.0, -float("inf"), 0)):
        models, processes = make_models("a")

        async def run(models=models, ends=ends):
            async with models.running(ends=lambda: ends):
                pass

        asyncio.run(run())
        assert least <= processes[0].within_s <= most


@pytest.mark.parametrize("explains", [False, True])
def test_a_process_is_ended_that_owes_an_answer_for_ten_seconds_longer_than_it_may(make_models, caplog, explains):
    models, processes = make_models("a")
    model, limit_s = models["a"], Settings().heat_map_timeout_s if explains else Settings().timeout_s

    async def run():
        async with models.running():
            model._explainer = explainer = FakeProcess(3)
            hanging = explainer if explains else processes[0]
            hanging.hangs_for_s = limit_s + 9
            await asyncio.sleep(0.1)  # a hundred looks
            assert not hanging.ended.is_set()
            hanging.hangs_for_s = limit_s + 11
            await first_of(model._keeping, hanging.ended.is_set)
            hanging.hangs_for_s = 0.0
            await first_of(model._keeping, lambda: model.is_ready)
            assert (explainer.ended.is_set(), len(processes)) == ((True, 1) if explains else (False, 2))

    asyncio.run(run())
    does = "makes its heat maps" if explains else "runs it"
    assert caplog.text.count(f"a: the process that {does} gives no answers any more; it is ended") == 1


def test_models_that_are_killed_are_not_started_again(make_models):
    models, processes = make_models("a")

    async def run():
        async with models.running():
            models["a"]._explainer = explainer = FakeProcess(3)
            old = FakeProcess(3)
            models["a"]._closing[asyncio.create_task(asyncio.sleep(0))] = old
            models.kill()
            await asyncio.wait([models["a"]._keeping])
            assert [process.ended.is_set() for process in (*processes, explainer, old)] == [True] * 3

    asyncio.run(run())
    assert len(processes) == 1


def test_a_server_that_is_told_to_stop_before_it_listens_ends(make_models):
    models, _ = make_models()
    server = Server(_configure(create_app(models), models), drain=Drain(), settings=models.settings, started=lambda: None)
    server.handle_exit(signal.SIGTERM, None)
    with listen("127.0.0.1", 0) as listening:
        asyncio.run(server.serve([listening]))
    assert (server.should_exit, server.drain.cut_off) == (True, 0)


def test_a_process_that_does_not_end_in_its_time_is_killed():
    async def run():
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(1e6)", stdin=pipe, stdout=pipe)
        process = Process(child, {})
        asked = process.ask({}, b"")
        try:
            await process.close(within_s=-1.0)
            assert process.ended.is_set()
        finally:
            process.kill()
        assert isinstance(asked.exception(), Problem)

    asyncio.run(run())
