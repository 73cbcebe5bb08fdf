"""Optimisers, schedules, averages and losses against independent references."""

import math
from contextlib import contextmanager
from copy import deepcopy

import pytest
import torch
from timm.optim import RMSpropTF
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel as Reference
from torch.optim.swa_utils import get_ema_multi_avg_fn

from inceptions.networks.modules.models import Outputs
from inceptions.training.followers import make_average
from inceptions.training.gradients import Gradients, Loss, balanced_weights, split
from inceptions.training.optimizers import TensorFlowRMSProp, make_optimizer, orthogonal
from inceptions.training.recipe import Adam, AdamW, Average, Muon, Sgd
from inceptions.training.schedules import Constant, Exponential, OneCycle, Steps, lr_factor, statistics_share


def quadratic(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double(), torch.randn(16, 5).double()


@pytest.mark.parametrize(("epsilon", "momentum", "weight_decay"), [(1.0, 0.9, 0.0), (1.0, 0.9, 4e-5), (1e-3, 0.0, 0.01), (1e-10, 0.5, 0.0)])
def test_rmsprop_is_that_of_timm(epsilon, momentum, weight_decay):
    (ours, x), (theirs, _) = quadratic(1), quadratic(1)
    a = TensorFlowRMSProp(ours.parameters(), 0.05, decay=0.9, momentum=momentum, epsilon=epsilon, weight_decay=weight_decay)
    b = RMSpropTF(theirs.parameters(), 0.05, alpha=0.9, momentum=momentum, eps=epsilon, weight_decay=weight_decay)
    for step in range(20):
        for group in (*a.param_groups, *b.param_groups):
            group["lr"] = 0.05 * 0.9**step
        for module, optimizer in ((ours, a), (theirs, b)):
            optimizer.zero_grad()
            (module(x) ** 2).mean().backward()
            optimizer.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-14)


def test_rmsprop_by_hand():
    """One weight 2, gradient 3, then 1: s starts at one, epsilon is inside the root, the rate inside the momentum."""
    weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = TensorFlowRMSProp([weight], 0.1, decay=0.9, momentum=0.5, epsilon=1.0)
    s, m, w = 1.0, 0.0, 2.0
    for lr, gradient in ((0.1, 3.0), (0.01, 1.0)):
        optimizer.param_groups[0]["lr"] = lr
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        s = 0.9 * s + 0.1 * gradient**2
        m = 0.5 * m + lr * gradient / math.sqrt(s + 1.0)
        w -= m
    assert weight.item() == pytest.approx(w, abs=1e-15)


@pytest.mark.parametrize("fused_on", [None, torch.device("cpu")])
def test_adamw_is_that_of_torch(fused_on):
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(3, 2)) for _ in range(2))
    groups = [{"params": [ours], "weight_decay": 0.1}]
    mine = make_optimizer(AdamW(beta1=0.8, beta2=0.9, epsilon=1e-3), groups, lr=0.01, fused_on=fused_on)
    other = torch.optim.AdamW([theirs], lr=0.01, betas=(0.8, 0.9), eps=1e-3, weight_decay=0.1)
    for _ in range(5):
        gradient = torch.randn(3, 2)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        mine.step(), other.step()
    torch.testing.assert_close(ours, theirs, rtol=0 if fused_on is None else 1e-6, atol=0)  # two ways to round
    assert not torch.equal(ours, torch.ones(3, 2))


@pytest.mark.parametrize("kind", [Sgd(nesterov=True), Sgd(), AdamW()], ids=["nesterov", "sgd", "adamw"])
def test_a_fused_optimizer_is_torchs_also_where_parameters_of_a_group_open_one_after_another(kind):
    """Fused, torch's own takes momentum for all new or all old, and refuses; with channels last, as kernels lie in memory here."""
    torch.manual_seed(0)
    kernels = [nn.Parameter(torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)) for _ in range(2)]
    copies = [nn.Parameter(kernel.detach().clone(memory_format=torch.preserve_format)) for kernel in kernels]
    groups = [{"params": kernels, "weight_decay": 0.01}]
    mine = make_optimizer(kind, groups, lr=0.1, fused_on=torch.device("cpu"))
    if isinstance(kind, Sgd):
        other = torch.optim.SGD(copies, lr=0.1, momentum=0.9, nesterov=kind.nesterov, weight_decay=0.01)
    else:
        other = torch.optim.AdamW(copies, lr=0.1, weight_decay=0.01)
    assert mine.param_groups[0]["fused"]
    for step in range(4):
        for number, (one, two) in enumerate(zip(kernels, copies, strict=True)):
            if step >= number:
                two.grad = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
                one.grad = two.grad.clone(memory_format=torch.preserve_format)
        mine.step(), other.step()
    for one, two in zip(kernels, copies, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)  # two ways to round


@pytest.mark.parametrize("kind", [Sgd(), AdamW()])
@pytest.mark.parametrize("says", [True, False])
def test_a_run_that_began_unfused_goes_on_so(kind, says):
    """To the bit as it would have: one of an earlier version, whose checkpoints say how its optimiser moved, or know of no other way."""
    torch.manual_seed(0)
    weights = [nn.Parameter(torch.ones(5)) for _ in range(2)]
    old, new = (
        make_optimizer(kind, [{"params": [weight], "weight_decay": 0.01}], lr=0.1, fused_on=device)
        for weight, device in zip(weights, (None, torch.device("cpu")), strict=True)
    )
    for step in range(4):
        gradient = torch.randn(5)
        for weight, optimizer in zip(weights, (old, new), strict=True):
            weight.grad = gradient.clone()
            if step != 1 or optimizer is old:
                optimizer.step()
        if step == 1:
            weights[1].data.copy_(weights[0])
            state = deepcopy(old.state_dict())
            if not says:
                del state["param_groups"][0]["fused"]
            new.load_state_dict(state)
            assert not new.param_groups[0]["fused"]
    assert torch.equal(*weights)


def test_muon_moves_kernels_by_orthogonal_steps_that_keep_their_length_and_the_rest_by_sgd(monkeypatch):
    monkeypatch.setattr("inceptions.training.optimizers.pick_precision", lambda *_: None)  # and not in bfloat16
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(8, 4, 3, 3).to(memory_format=torch.channels_last))
    matrix, bias = nn.Parameter(torch.randn(5, 6)), nn.Parameter(torch.randn(7))
    groups = [{"params": [kernel, matrix], "weight_decay": 0.01}, {"params": [bias], "weight_decay": 0.0, "lr": 0.4}]
    mine = make_optimizer(Muon(momentum=0.5, rest_momentum=0.9, rest_lr=3.0), groups, lr=0.2)
    copies = [nn.Parameter(parameter.detach().clone()) for parameter in (matrix, bias)]
    theirs = [{"params": [copies[0]], "weight_decay": 0.01, "lr": 0.6}, {"params": [copies[1]], "lr": 1.2}]
    other = torch.optim.SGD(theirs, lr=1.0, momentum=0.9, nesterov=True)
    w, m = kernel.detach().clone().flatten(1), torch.zeros(8, 36)
    for _ in range(4):
        for parameter, copy in zip((matrix, bias), copies, strict=True):
            parameter.grad = torch.randn_like(parameter)
            copy.grad = parameter.grad.clone()
        kernel.grad = torch.randn(8, 4, 3, 3)
        mine.step(), other.step()
        m = 0.5 * m + kernel.grad.flatten(1)
        length = w.norm()
        u, d, v = torch.linalg.svd(kernel.grad.flatten(1) + 0.5 * m, full_matrices=False)
        s = d / d.norm()
        for _ in range(3):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        w = w - 0.2 * length / 8**0.5 * (u * s) @ v
        w *= length / w.norm()
        torch.testing.assert_close(kernel.flatten(1), w, rtol=0, atol=1e-4)  # in float32, twice
    for parameter, copy in zip((matrix, bias), copies, strict=True):
        torch.testing.assert_close(parameter, copy, rtol=1e-6, atol=1e-6)
    state = deepcopy(mine.state_dict())
    again = make_optimizer(Muon(momentum=0.5, rest_momentum=0.9, rest_lr=3.0), groups, lr=0.2)
    again.load_state_dict(state)
    assert torch.equal(again.state[kernel]["moment"], mine.state[kernel]["moment"])


@pytest.mark.parametrize("shape", [(16, 144), (144, 16), (32, 64)])
def test_orthogonal_lifts_singular_values_near_to_one_and_keeps_their_directions(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape) + 5 * torch.ones(shape)  # one direction far above the others
    found, (u, _, v) = orthogonal(matrix, torch.bfloat16), torch.linalg.svd(matrix, full_matrices=False)
    assert found.dtype == matrix.dtype
    values = torch.diag(u.T @ found @ v.T)
    assert 0.3 < values.min() < values.max() < 1.3
    assert (u.T @ found @ v.T - torch.diag(values)).abs().max() < 0.1
    assert orthogonal(torch.zeros(3, 4), torch.float32).abs().max() == 0


def test_adam_by_hand_with_tensorflows_epsilon():
    """lr_t = lr sqrt(1 - beta2^t) / (1 - beta1^t);  w = w - lr_t m / (sqrt(v) + epsilon), as `tf.raw_ops.ApplyAdam`."""
    weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = make_optimizer(Adam(beta1=0.8, beta2=0.99, epsilon=0.1), [{"params": [weight], "weight_decay": 0.0}], lr=0.05)
    m, v, w = 0.0, 0.0, 2.0
    for step, gradient in enumerate((3.0, 1.0, -0.01), start=1):
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        m, v = 0.8 * m + 0.2 * gradient, 0.99 * v + 0.01 * gradient**2
        w -= 0.05 * math.sqrt(1 - 0.99**step) / (1 - 0.8**step) * m / (math.sqrt(v) + 0.1)
        state = optimizer.state_dict()
        optimizer = make_optimizer(Adam(beta1=0.8, beta2=0.99, epsilon=0.1), [{"params": [weight], "weight_decay": 0.0}], lr=0.05)
        optimizer.load_state_dict(state)  # as a run that is killed after each step
    assert weight.item() == pytest.approx(w, abs=1e-14)


def test_statistics_of_batch_normalisation_begin_at_once_and_end_at_their_own_pace():
    """After 1,860 steps of 0.0003 alone, 57 % of them would be as they began; torch's 0.1 is left as it is."""
    left = math.prod(1 - statistics_share(0.0003, step) for step in range(1860))
    assert left < 1e-6 < 0.57 < 0.9997**1860
    assert [statistics_share(0.0003, step) for step in (0, 80, 100, 10**6)] == pytest.approx([0.1, 0.1, 9 / 110, 0.0003])
    assert {statistics_share(0.1, step) for step in range(1000)} == {0.1}
    assert statistics_share(0.5, 0) == 0.5


def test_one_cycle_is_torchs():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=60, pct_start=0.3, cycle_momentum=False, final_div_factor=1e3
    )
    for step in range(60):
        assert lr_factor(OneCycle(warmup=0.3), step, steps_per_epoch=6, epochs=10) == pytest.approx(reference.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        if step < 59:
            reference.step()


def test_exponential_by_hand():
    def at(schedule, epoch):
        return lr_factor(schedule, round(epoch * 100), steps_per_epoch=100, epochs=50)

    stairs = Exponential(factor=0.94, every_epochs=2)
    assert [at(stairs, epoch) for epoch in (0, 1.99, 2, 3.99, 4)] == pytest.approx([1, 1, 0.94, 0.94, 0.94**2])
    assert at(Exponential(factor=0.94, every_epochs=2, staircase=False), 3) == pytest.approx(0.94**1.5)
    assert at(Exponential(factor=0.5, every_epochs=1, floor=0.1), 40) == 0.1


def test_a_staircase_falls_at_the_step_it_should_whatever_the_rounding():
    six_times_faster = Exponential(factor=0.96, every_epochs=8 / 6)
    assert lr_factor(six_times_faster, 400, steps_per_epoch=100, epochs=60) == pytest.approx(0.96**3)
    assert lr_factor(six_times_faster, 399, steps_per_epoch=100, epochs=60) == pytest.approx(0.96**2)


def test_steps_and_constant_by_hand():
    steps = Steps(at=((100, 0.1), (200, 0.01)))
    assert [lr_factor(steps, e * 10, steps_per_epoch=10, epochs=276) for e in (0, 99, 100, 199, 200, 275)] == [1, 1, 0.1, 0.1, 0.01, 0.01]
    assert lr_factor(Constant(), 7, steps_per_epoch=10, epochs=1) == 1


def moving(module, step):
    for number, tensor in enumerate((*module.parameters(), *module.buffers())):
        if tensor.is_floating_point():
            tensor.data.fill_(step * 0.1 + number)
        else:
            tensor.fill_(step)


def test_average_is_torchs_without_warmup():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ours = make_average(module, Average(decay=0.8, warmup=False))
    reference = Reference(module, multi_avg_fn=get_ema_multi_avg_fn(0.8))
    for step in range(10):
        moving(module, step)
        ours.update_parameters(module)
        reference.update_parameters(module)
    for mine, other in zip(ours.module.parameters(), reference.module.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_average_begins_as_tensorflows_num_updates_and_keeps_the_statistics_of_batch_normalisation():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ours = make_average(module, Average(decay=0.9))
    expected = None
    for step in range(30):
        moving(module, step)
        ours.update_parameters(module)
        value = module[1].running_mean[0].item()
        decay = min(0.9, (1 + step) / (10 + step))
        expected = value if expected is None else decay * expected + (1 - decay) * value
    assert ours.module[1].running_mean[0].item() == pytest.approx(expected, rel=1e-5)
    assert ours.module[1].num_batches_tracked.item() == 29


def test_label_smoothing_is_spread_over_all_classes():
    logits, labels = torch.randn(6, 5, dtype=torch.float64), torch.tensor([0, 4, 2, 2, 1, 3])
    target = torch.full((6, 5), 0.1 / 5, dtype=torch.float64)
    target[torch.arange(6), labels] += 0.9
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(Loss(label_smoothing=0.1)(logits, labels), expected)


def test_auxiliary_losses_count_by_their_weights():
    main, first, second = (torch.randn(4, 3) for _ in range(3))
    labels = torch.tensor([0, 1, 2, 0])
    ce = nn.functional.cross_entropy
    expected = ce(main, labels) + 0.3 * ce(first, labels) + 0.2 * ce(second, labels)
    torch.testing.assert_close(Loss(aux_weights=(0.3, 0.2))(Outputs(main, (first, second)), labels), expected)


def test_balanced_weights_make_rare_classes_count_as_much_as_frequent_ones():
    labels = [0] * 6 + [1] * 2
    weights = balanced_weights(labels, classes=2)
    assert weights == pytest.approx((8 / 12, 2.0))
    assert balanced_weights(labels, classes=4) == (*weights, 0.0, 0.0)  # of classes without images
    logits = torch.randn(8, 2)
    each = nn.functional.cross_entropy(logits, torch.tensor(labels), reduction="none")
    expected = (each[:6].mean() + each[6:].mean()) / 2
    torch.testing.assert_close(Loss(class_weights=weights)(logits, torch.tensor(labels)), expected)


class Watched(DistributedDataParallel):
    """Notes for each pass whether the processes would wait for each other behind it; there is one process, and nothing to wait for."""

    def __init__(self, module):
        nn.Module.__init__(self)
        self.module, self.waits, self._alone = module, [], False

    def forward(self, x):
        self.waits.append(not self._alone)
        return self.module(x)

    @contextmanager
    def no_sync(self):
        self._alone = True
        yield
        self._alone = False


def test_processes_wait_for_each_other_once_a_step_however_many_parts_it_has():
    model = Watched(nn.Linear(3, 2))
    images, labels = torch.randn(12, 3), torch.arange(12) % 2
    Gradients(Loss()).compute(model, split(images, labels, labels, count=4), total=12.0)
    assert model.waits == [False, False, False, True]
