import math

import pytest

from inceptions.errors import UserError
from inceptions.training.recipes import RECIPES
from inceptions.training.schedules import Constant, Cosine, Exponential, OneCycle, Steps, lr_factor

SCHEDULES = (
    *(OneCycle(warmup=warmup) for warmup in (1e-9, 0.1, 0.2, 0.25, 0.5, 1.0)),
    Cosine(),
    Cosine(warmup_epochs=2.5, floor=0.01),
    Exponential(),
    Exponential(staircase=False, floor=0.5),
    Exponential(warmup_epochs=3, cold_epochs=1),
    Exponential(warmup_epochs=0.5, cold_epochs=0.25, every_epochs=0.1),
    Exponential(cold_epochs=2),
    Steps(),
    Steps(at=((0, 0.5), (1, 0.1), (2, 0.0))),
    Constant(),
    *(recipe.schedule for recipe in RECIPES.values()),
)


def rates(schedule, *, steps_per_epoch, epochs):
    return [lr_factor(schedule, step, steps_per_epoch=steps_per_epoch, epochs=epochs) for step in range(steps_per_epoch * epochs)]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_a_run_of_any_number_of_steps_has_rates_from_nothing_to_the_peak(schedule):
    for steps_per_epoch in (1, 2, 3, 5, 7, 10, 64):
        for epochs in (1, 2, 3, 4, 5, 10, 20):
            found = rates(schedule, steps_per_epoch=steps_per_epoch, epochs=epochs)
            assert all(math.isfinite(rate) and 0 <= rate <= 1 for rate in found)


@pytest.mark.parametrize("total", [*range(1, 11), 25, 100])
def test_one_cycle_reaches_its_peak_and_comes_down_again_in_any_number_of_steps(total):
    found = rates(OneCycle(), steps_per_epoch=1, epochs=total)
    top = found.index(max(found))
    assert max(found) > 0.9
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)
    assert found[-1] == (pytest.approx(1 / 25_000) if total > 1 else 1)
    assert found[0] == (pytest.approx(1 / 25) if total > 5 else 1)


def test_cosine_rises_evenly_and_falls_to_its_floor():
    found = rates(Cosine(warmup_epochs=2, floor=0.1), steps_per_epoch=10, epochs=12)
    assert found[:20] == pytest.approx([(step + 1) / 21 for step in range(20)])
    assert (found[20], found[70]) == (1.0, pytest.approx(0.55))
    assert found[20:] == sorted(found[20:], reverse=True)
    assert found[-1] == pytest.approx(0.1, abs=1e-3)
    assert rates(Cosine(), steps_per_epoch=4, epochs=1)[0] == 1.0


def test_the_default_recipe_trains_five_epochs_of_one_step_each():
    """Up to 127 images in batches of 64: the warm-up is one step long."""
    assert rates(RECIPES["quick"].schedule, steps_per_epoch=1, epochs=5)[0] == 1


def test_a_warm_up_rises_to_where_the_decay_has_come_to():
    def at(epoch):
        return lr_factor(warm, round(100 * epoch), steps_per_epoch=100, epochs=50)

    warm = Exponential(factor=0.94, every_epochs=2, warmup_epochs=4, cold_epochs=2, cold=0.1)
    meets = 0.94**3
    assert [at(epoch) for epoch in (0, 1.5, 2, 4, 6, 7.5, 8)] == pytest.approx([*(0.1 * meets,) * 3, 0.55 * meets, meets, meets, 0.94**4])
    warm = Exponential(factor=0.94, every_epochs=2, warmup_epochs=3, staircase=False)
    assert [at(epoch) for epoch in (0, 3, 4)] == pytest.approx([0.1 * 0.94**1.5, 0.94**1.5, 0.94**2])


def test_the_tpu_recipe_warms_up_as_its_source():
    """tensorflow/tpu, inception_v3.py: 0.1 of the peak times 0.94^3 for 2 epochs; a tenth more at each epoch, here evenly between them."""
    schedule, meets = RECIPES["tpu_inception_v3"].schedule, 0.94**3
    at = [lr_factor(schedule, 1251 * epoch, steps_per_epoch=1251, epochs=170) / meets for epoch in range(13)]
    assert at[:2] == pytest.approx([0.1, 0.1])
    for epoch in range(2, 11):
        assert at[epoch + 1] == pytest.approx(0.1 * epoch)  # the source's rate throughout `epoch`, ours at its end
    assert at[12] == pytest.approx(0.94)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OneCycle(warmup=0), "schedule.warmup is 0; it must be above 0 and at most 1"),
        (lambda: OneCycle(warmup=math.nan), "schedule.warmup is nan"),
        (lambda: Exponential(factor=1.1), "schedule.factor is 1.1"),
        (lambda: Exponential(every_epochs=0), "schedule.every_epochs is 0; it must be a number of epochs above 0"),
        (lambda: Exponential(every_epochs=math.inf), "schedule.every_epochs is inf"),
        (lambda: Exponential(warmup_epochs=-1), "schedule.warmup_epochs is -1; it must be a number of epochs, 0 or more"),
        (lambda: Exponential(cold_epochs=math.nan), "schedule.cold_epochs is nan"),
        (lambda: Exponential(cold=0), "schedule.cold is 0"),
        (lambda: Exponential(floor=2), "schedule.floor is 2; it must be from 0 to 1"),
        (lambda: Steps(at=((2, 0.1), (1, 0.5))), "epochs rise"),
        (lambda: Steps(at=((1, 10),)), "factors are 0 to 1"),
        (lambda: Steps(at=((math.nan, 0.1),)), "epochs rise"),
    ],
)
def test_a_schedule_that_can_t_be_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
