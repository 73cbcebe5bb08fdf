import csv
import math
import os
import signal
import socket
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import Parameter

from inceptions.data.augment import Augment
from inceptions.data.dataset import ImageDataset, image_loader
from inceptions.data.folders import load_splits
from inceptions.data.preprocess import for_training
from inceptions.errors import DivergedError, ImageError, StoppedError, UserError
from inceptions.evaluation.score import score
from inceptions.networks import reshape
from inceptions.networks.modules.models import training_module
from inceptions.networks.registry import get_network
from inceptions.training.asynchronous import driver
from inceptions.training.asynchronous.driver import EpochDone, Progress, Training, ray_session, train_asynchronously
from inceptions.training.asynchronous.run import lr_scales, shard_optimizer
from inceptions.training.asynchronous.server import (
    Held,
    Rule,
    ServerShard,
    Ticket,
    begin_checkpoint,
    divide,
    plot_staleness,
    read_checkpoint,
    read_staleness,
    write_staleness,
)
from inceptions.training.asynchronous.worker import Job
from inceptions.training.gradients import Gradients, Loss
from inceptions.training.learner import Learner
from inceptions.training.loop import Pace, fit
from inceptions.training.processes import Processes
from inceptions.training.recipe import Average
from inceptions.training.recipes import QUICK
from inceptions.training.setup import prepare

ray = pytest.importorskip("ray")

pytestmark = [  # Ray leaves its own processes and their pipes to the garbage collector, and forks where there are threads
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:unclosed .*:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning:ray"),
]

STEPS = 8  # of an epoch: 60 images in batches of 7 and 8
WORKERS = 2
LOSS = Loss(label_smoothing=0.1)
TINY = reshape.with_image_size(reshape.scale_width(get_network("inception_small"), 0.25), 16)


def sgd(named, *, lr=0.1):
    return torch.optim.SGD([parameter for _, parameter in named], lr=lr, momentum=0.9, nesterov=True)


def constant(_, lr=0.05):
    return lr


def one_cycle(step, *, peak, total, warmup=0.2):
    rise = warmup * total
    return peak * min((step + 1) / rise, (total - step) / (total - rise))


RULE = Rule(sgd, constant)


@pytest.fixture(scope="module")
def session():
    """One Ray for all tests of the module: it takes seconds to start."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # so that no other process imports this module, and pytest
    with ray_session(None, workers=WORKERS):
        yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def job_on(network, samples, checkpoints, **settings):
    common = {"preprocess": for_training(16), "seed": 0, "gradients": Gradients(LOSS, clip_norm=2.0)}
    return Job(network=network, samples=samples, checkpoints=checkpoints, **common, **settings)


def job_of(folder, checkpoints, **changes):
    splits = load_splits(folder, seed=0)
    network = reshape.with_classes(TINY, len(splits.classes))
    job = job_on(network, splits.train, checkpoints, augment=Augment(), batch_size=8, epochs=2, rule=RULE)
    return replace(job, **changes)


def shard_of(path, *, rule=RULE, run="run", values=(1.0, 2.0)):
    held = Held({"a": torch.tensor(values), "b": torch.ones(2, 2)}, {"bn.running_mean": torch.zeros(2)}, {"bn.running_mean": 0.1})
    begin_checkpoint(path / "shard-0.pt", held)
    return ServerShard(path / "shard-0.pt", rule=rule, run=run)


def push(shard, batch, *, version=None, epoch=1, gradient=(1.0, -1.0)):
    gradients = {"a": np.array(gradient, np.float32), "b": np.full((2, 2), 0.5, np.float32)}
    statistics = {"bn.running_mean": np.ones(2, np.float32)}
    version = shard.version if version is None else version
    return shard.push(Ticket(epoch, batch), version=version, gradients=gradients, statistics=statistics, score=(8, batch, 0.5))


def test_shard_steps_as_torch_does(tmp_path):
    shard = shard_of(tmp_path, rule=Rule(sgd, lambda step: 0.1 / (1 + step)))
    a, b = Parameter(torch.tensor([1.0, 2.0])), Parameter(torch.ones(2, 2))
    plain = sgd([("a", a), ("b", b)])
    for batch in range(3):
        push(shard, batch)
        a.grad, b.grad = torch.tensor([1.0, -1.0]), torch.full((2, 2), 0.5)
        plain.param_groups[0]["lr"] = 0.1 / (1 + batch)
        plain.step()
    weights = shard.pull()
    assert weights.version == 3
    assert np.array_equal(weights.arrays["a"], a.detach().numpy())
    assert np.array_equal(weights.arrays["b"], b.detach().numpy())
    assert shard.read_out()["bn.running_mean"] == pytest.approx(1 - 0.9**3)


def test_statistics_that_begin_unmeasured_move_faster_at_first(tmp_path):
    shard = shard_of(tmp_path, rule=Rule(sgd, constant, fresh=True))
    shard.momentum["bn.running_mean"] = 0.0003
    for batch in range(3):
        push(shard, batch)
    assert shard.read_out()["bn.running_mean"] == pytest.approx(1 - 0.9**3)


def test_staleness_is_the_number_of_updates_between_pull_and_push(tmp_path):
    shard = shard_of(tmp_path)
    assert [push(shard, batch, version=version) for batch, version in enumerate((0, 0, 0, 2, 4))] == [0, 1, 2, 1, 0]
    assert list(shard.ledger().applied.values()) == [0, 1, 2, 1, 0]


def test_gradient_that_comes_twice_counts_once(tmp_path):
    shard = shard_of(tmp_path)
    push(shard, 0)
    before = shard.pull().arrays["a"].copy()
    push(shard, 0)
    push(shard, 0, epoch=2)
    assert np.array_equal(shard.pull().arrays["a"], before)
    assert shard.ledger().version == 1


def test_learning_rate_of_a_group_is_scaled(tmp_path):
    def two_groups(named):
        return torch.optim.SGD([{"params": [parameter], "lr_scale": 0.1 if name == "a" else 1.0} for name, parameter in named], lr=1.0)

    shard = shard_of(tmp_path, rule=Rule(two_groups, lambda _: 1.0))
    push(shard, 0)
    assert shard.pull().arrays["a"] == pytest.approx([0.9, 2.1])
    assert shard.pull().arrays["b"][0, 0] == 0.5


def test_parameters_of_a_shard_have_the_rates_that_they_have_in_step(pictures):
    recipe = replace(QUICK, layer_decay=0.5)
    setup = prepare(TINY, load_splits(pictures), recipe, source="pictures", device="cpu")
    learner = Learner(setup, Processes(), steps_per_epoch=2)
    pairs = list(learner.module.named_parameters())[::2]  # of two shards, the first
    optimizer = shard_optimizer(pairs, recipe=recipe, lr=setup.peak_lr, scales=lr_scales(learner))
    plain = {id(p): (group["lr"], group["weight_decay"]) for group in learner.optimizer.param_groups for p in group["params"]}
    found = {id(p): (setup.peak_lr * group["lr_scale"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    assert found == {id(parameter): plain[id(parameter)] for _, parameter in pairs}
    assert len({rate for rate, _ in found.values()}) > 5


def test_averages_are_read_out_and_weights_are_pulled(tmp_path):
    shard = shard_of(tmp_path, rule=replace(RULE, average=Average(decay=0.9)))
    push(shard, 0)
    first = shard.pull().arrays["a"].copy()
    assert np.array_equal(shard.read_out()["a"], first)
    push(shard, 1)
    decay = 2 / 11  # (1 + n) / (10 + n) after n = 1 update
    assert shard.read_out()["a"] == pytest.approx(decay * first + (1 - decay) * shard.pull().arrays["a"])


def test_shard_comes_back_from_its_checkpoint(tmp_path):
    rule = replace(RULE, average=Average(decay=0.9), checkpoint_every=2)
    shard = shard_of(tmp_path, rule=rule)
    for batch in range(3):
        push(shard, batch)
        if batch == 1:
            kept = shard.read_out(), shard.pull().arrays["a"].copy()
    back = shard_of(tmp_path, rule=rule, values=(7.0, 7.0))
    assert back.ledger() == (1, 2, {0: 0, 1: 0}, {0: (8, 0, 0.5), 1: (8, 1, 0.5)}, 1)
    assert np.array_equal(back.pull().arrays["a"], kept[1])
    assert all(np.array_equal(back.read_out()[name], kept[0][name]) for name in kept[0])
    push(back, 2)
    assert np.array_equal(back.pull().arrays["a"], shard.pull().arrays["a"])  # momentum came back too
    assert shard_of(tmp_path, rule=rule, run="another").ledger().restarts == 0


@pytest.mark.parametrize("damage", [lambda data: data[:200], lambda data: b"no checkpoint", lambda data: b""])
def test_damaged_checkpoint_is_refused_by_name(tmp_path, damage):
    shard_of(tmp_path)
    path = tmp_path / "shard-0.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"shard-0.pt is damaged; delete the folder"):
        shard_of(tmp_path)


def test_checkpoint_of_something_else_is_refused(tmp_path):
    torch.save({"weights": torch.zeros(1)}, tmp_path / "shard-0.pt")
    with pytest.raises(UserError, match="not a parameter server's"):
        read_checkpoint(tmp_path / "shard-0.pt")
    (tmp_path / "shard-0.pt").unlink()
    shard_of(tmp_path)
    with pytest.raises(UserError, match="parameters are those of another network"):
        shard_of(tmp_path, values=(1.0, 2.0, 3.0))


def test_every_tensor_is_in_one_shard_and_shards_are_even():
    sizes = {name: value.numel() for name, value in training_module(get_network("googlenet")).named_parameters()}
    parts = divide(sizes, 4)
    assert Counter(name for part in parts for name in part) == Counter(sizes.keys())
    loads = [sum(sizes[name] for name in part) for part in parts]
    assert max(loads) - min(loads) <= max(sizes.values())
    with pytest.raises(UserError, match="allowed are 1 to"):
        divide({"a": 1}, 2)


def test_staleness_is_written_and_drawn(tmp_path):
    write_staleness((0, 1, 1), tmp_path / "staleness.csv")
    with (tmp_path / "staleness.csv").open() as file:
        assert [(row["update"], row["staleness"]) for row in csv.DictReader(file)] == [("1", "0"), ("2", "1"), ("3", "1")]
    for values in ((), (0,), (0, 1, 1) * 200):
        plot_staleness(values, tmp_path / "staleness.png")
        assert (tmp_path / "staleness.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def begin(pictures, monkeypatch):
    """Have a run trained by a driver that needs no Ray; each way is called as `train_asynchronously` is."""

    def start(folder, way, *, epochs=2):
        monkeypatch.setattr("inceptions.training.asynchronous.run.train_asynchronously", way)
        network, recipe = (
            reshape.scale_width(get_network("inception_small"), 0.125),
            replace(QUICK, batch_size=8, precision="float32", epochs=epochs, asynchronous=2),
        )
        setup = prepare(network, load_splits(pictures), recipe, source=str(pictures), image_size=16, device="cpu")
        return fit(setup, folder, pace=Pace(workers=0), goes_on=True)

    return start


def epoch_done(job, epoch, staleness):
    return EpochDone(epoch, job.state, 1.0, 0.5, 0.1, 9.0, (), staleness)


def test_what_fails_within_the_first_epoch_leaves_what_the_servers_have(begin, tmp_path):
    def fail(job, *, report, **_):
        report(Progress(1, 1, job.steps_per_epoch, 1.0, 0, 9.0))
        raise UserError("a worker can't be started")

    with pytest.raises(UserError, match="can't be started") as failed:
        begin(tmp_path / "run", fail)
    assert failed.value.resume == tmp_path / "run"
    assert (tmp_path / "run" / "resume.json").is_file()


def test_a_run_that_goes_on_keeps_the_staleness_of_earlier_epochs(begin, tmp_path):
    steps = []

    def stop(job, *, end_of_epoch, **_):
        steps.append(job.steps_per_epoch)
        end_of_epoch(epoch_done(job, 1, (3,) * steps[0]))
        raise KeyboardInterrupt

    with pytest.raises(StoppedError, match="stopped at the end of epoch 1"):
        begin(tmp_path / "run", stop)
    begin(tmp_path / "run", lambda job, *, end_of_epoch, **_: end_of_epoch(epoch_done(job, 2, (1,) * steps[0])))
    assert read_staleness(tmp_path / "run" / "staleness.csv") == (3,) * steps[0] + (1,) * steps[0]
    assert read_staleness(tmp_path / "nothing.csv") == ()
    (tmp_path / "cut.csv").write_text("update,staleness\n1,0\n2")
    assert read_staleness(tmp_path / "cut.csv") == ()


def test_missing_ray_is_told(monkeypatch, pictures, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"needs Ray; pip install 'inceptions\[ray\]'"):
        train_asynchronously(job_of(pictures, tmp_path / "checkpoints"), workers=1)


def test_address_at_which_nothing_answers_is_told_at_once(pictures, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UserError, match=f"no Ray cluster answers at '{address}' .* start one with `ray start --head`"):
            train_asynchronously(job_of(pictures, tmp_path / "checkpoints"), workers=1, address=address)


def plain_training(job):
    """Ordinary training on the same batches in the same order, with torch's optimizer and batch normalisation."""
    torch.manual_seed(job.seed)
    module = training_module(job.network).to(memory_format=torch.channels_last).train()
    optimizer = job.rule.make_optimizer(list(module.named_parameters()))
    dataset = ImageDataset(job.samples, job.preprocess, augment=job.augment, seed=job.seed)
    step = 0
    for epoch in range(1, job.epochs + 1):
        dataset.epoch = epoch
        for batch in image_loader(dataset, batch_size=job.batch_size, shuffle=True, workers=0, even=True):
            optimizer.param_groups[0]["lr"] = job.rule.lr_at(step)
            optimizer.zero_grad()
            job.gradients.loss(module(batch.images()), batch.labels).backward()
            torch.nn.utils.clip_grad_norm_(module.parameters(), job.gradients.clip_norm)
            optimizer.step()
            step += 1
    return module


@pytest.mark.exhaustive
def test_one_worker_trains_as_ordinary_training_does(session, pictures, tmp_path):
    job = job_of(pictures, tmp_path / "checkpoints", shard_bytes=250_000)
    plain = plain_training(job).state_dict()
    result = train_asynchronously(job, workers=1)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2  # shards
    assert set(result.staleness) == {0}
    assert result.state.keys() == plain.keys()
    for name, value in plain.items():  # 1e-5: float32 rounding of 16 steps; the optimizer sums in the same order
        assert torch.allclose(result.state[name], value, rtol=1e-4, atol=1e-5), name


@pytest.mark.exhaustive
def test_every_batch_is_used_once_and_progress_is_told(session, pictures, tmp_path):
    heard, epochs = [], []
    job = job_of(pictures, tmp_path / "checkpoints", on_error="skip")
    broken = job.samples[5].path
    broken.write_bytes(b"no picture")
    result = train_asynchronously(job, workers=WORKERS, report=heard.append, end_of_epoch=epochs.append)
    assert [(each.epoch, each.step) for each in heard] == [(epoch, step) for epoch in (1, 2) for step in range(1, STEPS + 1)]
    assert len(result.staleness) == 2 * STEPS
    assert sum(result.staleness) > 0
    assert [done.epoch for done in epochs] == [1, 2]
    assert 0 < epochs[1].accuracy <= 1
    assert {item.path for done in epochs for item in done.unreadable} == {broken}
    assert (result.replaced_workers, result.restarted_servers, result.lost_gradients) == (0, 0, 0)
    counters = {int(value) for name, value in result.state.items() if name.endswith("num_batches_tracked")}
    assert counters == {2 * STEPS}


@pytest.mark.exhaustive
def test_killed_worker_and_killed_server_lose_nothing(session, pictures, tmp_path, caplog):
    rule = replace(RULE, checkpoint_every=4)
    training = Training(job_of(pictures, tmp_path / "checkpoints", epochs=3, rule=rule), workers=WORKERS)
    victims = {(1, 3): training.crew.actors[0], (2, 6): training.shards[0]}
    ledgers = []

    def kill(victim):
        os.kill(ray.get(victim.pid.remote()), signal.SIGKILL)

    def step(progress):
        if (progress.epoch, progress.step) in victims:
            kill(victims.pop((progress.epoch, progress.step)))

    def end(done):
        ledgers.append(training._ledgers()[0])
        if done.epoch == 3:
            kill(training.shards[0])

    try:
        result = training.run(step, end)
    finally:
        training.stop()
    assert [sorted(ledger.applied) for ledger in ledgers] == [list(range(STEPS))] * 3
    assert [ledger.version for ledger in ledgers] == [STEPS, 2 * STEPS, 3 * STEPS]
    assert len(result.staleness) == 3 * STEPS
    assert result.replaced_workers == 1
    assert result.restarted_servers == 2
    assert 1 <= result.lost_gradients <= 6
    assert "a worker died; another takes its place" in caplog.text
    assert "started again from its checkpoint" in caplog.text


@pytest.mark.exhaustive
def test_worker_that_always_dies_ends_the_run(session, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(driver, "DEATHS_IN_A_ROW", 1)

    class Die(Loss):
        def __call__(self, out, labels):
            os._exit(1)

    with pytest.raises(UserError, match="2 workers died with no batch done"):
        train_asynchronously(job_of(pictures, tmp_path / "checkpoints", gradients=Gradients(Die())), workers=1)


@pytest.mark.exhaustive
def test_errors_of_workers_are_told_as_they_are(session, pictures, tmp_path):
    job = job_of(pictures, tmp_path / "checkpoints", epochs=1)
    with pytest.raises(DivergedError, match=r"the loss is (nan|inf) at epoch 1, batch \d; train with a lower lr"):
        train_asynchronously(
            replace(job, rule=replace(RULE, lr_at=partial(constant, lr=1e30)), gradients=Gradients(LOSS, clip_norm=1e30)), workers=1
        )
    job.samples[0].path.write_bytes(b"no picture")
    with pytest.raises(ImageError, match=job.samples[0].path.name):
        train_asynchronously(replace(job, batch_size=60, checkpoints=tmp_path / "others"), workers=1)


@pytest.mark.exhaustive
def test_interrupt_leaves_a_checkpoint_from_which_the_run_goes_on(session, pictures, tmp_path):
    job = job_of(pictures, tmp_path / "checkpoints", epochs=1)

    def interrupt(progress):
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_asynchronously(job, workers=1, report=interrupt)
    assert read_checkpoint(tmp_path / "checkpoints" / "shard-0.pt")["version"] in (3, 4)
    heard = []
    result = train_asynchronously(job, workers=1, report=heard.append)
    assert heard[-1].step == STEPS
    assert len(heard) in (STEPS - 4, STEPS - 3)
    assert len(result.staleness) == STEPS


@pytest.mark.exhaustive
def test_an_epoch_whose_end_was_missed_still_has_its_loss(session, pictures, tmp_path):
    job, told = job_of(pictures, tmp_path / "checkpoints", epochs=1), []

    def miss(done):
        told.append(done)
        if len(told) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_asynchronously(job, workers=1, end_of_epoch=miss)
    train_asynchronously(job, workers=1, end_of_epoch=miss)
    assert 0 < told[0].loss < 10
    assert (told[0].loss, told[0].accuracy, told[0].lr) == (told[1].loss, told[1].accuracy, told[1].lr)


def test_nothing_is_trained_without_workers_or_images(pictures, tmp_path):
    job = job_of(pictures, tmp_path / "checkpoints")
    with pytest.raises(UserError, match="workers=0"):
        train_asynchronously(job, workers=0)
    with pytest.raises(UserError, match="1 images can't be trained on"):
        train_asynchronously(replace(job, samples=job.samples[:1]), workers=1)


def digits_job(checkpoints, *, epochs=8):
    splits = load_splits("digits")
    network = reshape.with_classes(TINY, 10)
    steps = epochs * math.ceil(len(splits.train) / 32)
    rule = Rule(sgd, partial(one_cycle, peak=0.05, total=steps))
    augment = Augment(flip=False)
    return splits, job_on(network, splits.train, checkpoints, augment=augment, batch_size=32, epochs=epochs, rule=rule)


def accuracy(module, job, samples):
    loader = image_loader(ImageDataset(samples, job.preprocess), batch_size=128, shuffle=False, workers=0)
    return score(module, loader, device=torch.device("cpu")).accuracy


@pytest.mark.exhaustive
def test_two_workers_reach_the_accuracy_of_synchronous_training(session, tmp_path):
    splits, job = digits_job(tmp_path / "checkpoints")
    start = time.perf_counter()
    synchronous = accuracy(plain_training(job), job, splits.test)
    middle = time.perf_counter()
    result = train_asynchronously(job, workers=WORKERS)
    end = time.perf_counter()
    module = training_module(job.network)
    module.load_state_dict(result.state)
    reached = accuracy(module, job, splits.test)
    mean = float(np.mean(result.staleness))
    print(f"\nsynchronous {synchronous:.4f} ({middle - start:.1f} s), asynchronous {reached:.4f} ({end - middle:.1f} s)")
    print(f"staleness: mean {mean:.2f}, {dict(sorted(Counter(result.staleness).items()))}")
    assert synchronous > 0.9
    assert reached > synchronous - 0.02
    assert 0 < mean < 4
