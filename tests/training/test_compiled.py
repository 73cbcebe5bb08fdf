"""A step through torch's compiler."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from inceptions.data.folders import load_splits
from inceptions.errors import StoppedError, UserError
from inceptions.networks.modules.models import training_module
from inceptions.training.compiled import Compiled
from inceptions.training.loop import Pace, fit, prepare, resume
from inceptions.training.report import start_of
from inceptions.weights.folder import load_model
from tests.training.test_frozen import StopAt
from tests.training.test_step import RECIPE, TINY, begun


@pytest.fixture
def traced(monkeypatch):
    """torch's compiler up to the code that it would make, which takes a minute; in its place the graph runs as it is."""
    from torch._dynamo.utils import counters  # which takes seconds to import

    real = torch.compile
    torch.compiler.reset()
    counters.clear()
    monkeypatch.setattr(torch, "compile", lambda module, mode: real(module, backend="eager", mode=mode))
    yield lambda: counters["stats"]["unique_graphs"]
    torch.compiler.reset()


SHORT = replace(TINY, stages=TINY.stages[:3], features=())
SLOW = replace(SHORT, numerics=replace(SHORT.numerics, bn_momentum=0.0003))


@pytest.mark.exhaustive  # torch's compiler takes seconds to import
def test_a_compiled_step_is_the_same_step_and_is_compiled_once_though_the_momentum_changes(traced, pictures):
    """From step 90 on the share of each batch in the statistics falls with every step."""
    found = []
    for how in ("none", "default"):
        learner, batches = begun(pictures, replace(RECIPE, compile=how), network=SLOW)
        learner.step = 90
        losses = [learner.learn(batch).loss for batch in batches]
        found.append((learner, losses))
    (plain, losses), (compiled, others) = found
    assert isinstance(compiled.model, Compiled)
    assert traced() == 1
    assert others == pytest.approx(losses, rel=1e-5)
    theirs = compiled.module.state_dict()
    assert theirs.keys() == plain.module.state_dict().keys()
    for key, value in plain.module.state_dict().items():
        torch.testing.assert_close(theirs[key], value, rtol=1e-4, atol=1e-6)
    assert compiled.state_dict()["average"].keys() == plain.state_dict()["average"].keys()


@pytest.mark.exhaustive
def test_a_compiled_run_that_grows_goes_through_and_saves_plain_weights(traced, pictures, tmp_path, plain_report_here):
    recipe = replace(RECIPE, epochs=2, compile="default", progressive=((0.5, 0.75),), average=None)
    setup = prepare(SHORT, load_splits(pictures), recipe, source=str(pictures), image_size=16, device="cpu")
    result = fit(setup, tmp_path / "run", pace=Pace(workers=0))
    assert traced() >= 1
    plain = fit(replace(setup, recipe=replace(recipe, compile="none")), tmp_path / "plain", pace=Pace(workers=0))
    assert [row.val_loss for row in result.rows] == pytest.approx([row.val_loss for row in plain.rows], rel=1e-3)
    assert not any("_orig_mod" in key for key in load_model(tmp_path / "run" / "last").module.state_dict())


@pytest.mark.exhaustive
def test_a_compiled_run_that_was_stopped_goes_on_to_the_same_weights(traced, pictures, tmp_path, plain_report_here):
    """Statistics, whose momentum the compiled network doesn't have, among them."""
    setup = prepare(SLOW, load_splits(pictures), replace(RECIPE, epochs=2, compile="default"), source=str(pictures), device="cpu")
    fit(setup, tmp_path / "whole", pace=Pace(workers=0))
    with pytest.raises(StoppedError):
        fit(setup, tmp_path / "stopped", reporter=StopAt(2, 1), pace=Pace(workers=0))
    resume(tmp_path / "stopped", pace=Pace(workers=0))
    assert traced() >= 1  # networks of one kind may share what is compiled
    whole, gone_on = (load_file(tmp_path / name / "last" / "model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(whole[key], gone_on[key]) for key in whole)


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_what_torch_makes_of_a_step_is_the_same_step(pictures):
    (plain, batches), (compiled, _) = (begun(pictures, replace(RECIPE, compile=how), network=SLOW) for how in ("none", "default"))
    losses = [[learner.learn(batch).loss for batch in batches] for learner in (plain, compiled)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    theirs = compiled.module.state_dict()
    for key, value in plain.module.state_dict().items():
        torch.testing.assert_close(theirs[key], value, rtol=1e-2, atol=1e-4)  # float32 in another order, over three steps


def test_a_share_without_images_goes_past_the_compiler_and_leaves_statistics(monkeypatch):
    """Several processes keep step with such; in the way back of it, what the compiler makes ends with an error of torch."""

    class NeedsImages(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, images):
            assert len(images)
            return self.module(images)

    monkeypatch.setattr(torch, "compile", lambda module, mode: NeedsImages(module))
    module = training_module(SHORT)
    compiled = Compiled(module, "default", [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)])
    assert [name for name, _ in compiled.named_parameters()] == [f"module.{name}" for name, _ in module.named_parameters()]
    compiled.share = 0.1
    compiled(torch.randn(2, 3, 16, 16))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    compiled(torch.zeros(0, 3, 16, 16)).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items() if "batches" not in name)
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in module.parameters())


@pytest.mark.parametrize(("how", "told"), [("none", 0), ("default", 1)])
def test_it_is_told_beforehand_that_compiling_takes_minutes(how, told, pictures, tmp_path):
    setup = prepare(TINY, load_splits(pictures), replace(RECIPE, compile=how), source=str(pictures), image_size=16, device="cpu")
    assert sum("torch's compiler works at the first step" in note for note in start_of(setup, tmp_path, epoch=1, step=0).notes) == told


def test_where_there_is_no_compiler_under_torchs_it_is_said_before_the_first_step(pictures, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match=r"compile needs a C\+\+ compiler, and there is none; install g\+\+, or train with compile=none"):
        begun(pictures, replace(RECIPE, compile="default"))
