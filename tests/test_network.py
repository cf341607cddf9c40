"""The dropout MLP: layout, initialization, and dropout from first principles."""

import pytest
import torch
from torch import nn

from mcdrop.errors import InputError
from mcdrop.network import DropoutMLP, build_network, dropout, with_spread
from mcdrop.recipe import NetworkRecipe


def test_layout_is_plain_torch() -> None:
    network = DropoutMLP(784, [256, 128], 10, dropout=[0.3, 0.5])
    kinds = [type(layer).__name__ for layer in network]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert [layer.p for layer in network if isinstance(layer, nn.Dropout)] == [0.3, 0.5]
    assert network(torch.zeros(2, 784)).shape == (2, 10)


def test_input_dropout_comes_first_and_zero_rates_leave_no_layer() -> None:
    network = DropoutMLP(13, [50], 1, dropout=0.0, input_dropout=0.05)
    assert [type(layer).__name__ for layer in network] == ["Dropout", "Linear", "ReLU", "Linear"]


def test_no_hidden_layer_is_a_linear_model() -> None:
    assert [type(layer) for layer in DropoutMLP(3, [], 1)] == [nn.Linear]


def test_recipe_builds_the_same_network() -> None:
    recipe = NetworkRecipe(hidden=(8,), dropout=0.2, activation="tanh", init="xavier")
    first = build_network(recipe, 4, 3, torch.Generator().manual_seed(1))
    again = build_network(recipe, 4, 3, torch.Generator().manual_seed(1))
    assert torch.equal(first[0].weight, again[0].weight)
    assert isinstance(first[1], nn.Tanh)


def test_building_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    DropoutMLP(5, [4], 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("init", "std"),
    [("he", (2 / 400) ** 0.5), ("xavier", (2 / (400 + 300)) ** 0.5), ("normal", 3.0)],
)
def test_initial_spread(init: str, std: float) -> None:
    network = DropoutMLP(
        400, [], 300, init=init, init_std=3.0, generator=torch.Generator().manual_seed(0)
    )
    layer = network[0]
    # The sample std of n = 120,000 weights has relative standard error 1/sqrt(2n) = .002 (less for
    # the uniform): 5 of them is a false-alarm rate below 1e-6.
    assert layer.weight.std().item() == pytest.approx(std, rel=0.0102)
    assert layer.bias.abs().max() == 0


@pytest.mark.parametrize(
    "arguments",
    [{"dropout": [0.1, 0.2]}, {"activation": "swish"}, {"init": "zeros"}],
)
def test_bad_arguments_are_named(arguments: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"give one rate|use relu|use he"):
        DropoutMLP(3, [4], 2, **arguments)  # type: ignore[arg-type]


def test_inverted_dropout_keeps_the_expectation() -> None:
    torch.manual_seed(0)
    network = DropoutMLP(50, [], 1, input_dropout=0.3)
    x = torch.rand(1, 50)
    network.train()
    draws = network(x.expand(200_000, -1)).detach()[:, 0]
    z = (draws.mean() - network.eval()(x)[0, 0]) / (draws.std() / len(draws) ** 0.5)
    assert abs(z) < 4.9  # false-alarm rate 1e-6


def test_thinned_draws_as_train_mode_does_and_from_its_generator_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    network = DropoutMLP(20, [40], 2, dropout=0.4, input_dropout=0.2, generator=generator)
    x, before = torch.rand(1, 20).expand(50_000, -1), torch.random.get_rng_state()
    ours = network.thinned(x, generator).detach()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(0)
    theirs = network.train()(x).detach()
    # Mean and spread of both draws as z scores; 4 of them at 4.9: false-alarm rate 4e-6.
    for moment in (lambda d: d, lambda d: (d - theirs.mean(0)) ** 2):
        a, b = moment(ours), moment(theirs)
        z = (a.mean(0) - b.mean(0)) / ((a.var(0) + b.var(0)) / len(a)) ** 0.5
        assert z.abs().max() < 4.9


def test_thinned_keeps_the_share_of_units_the_rate_says() -> None:
    network = DropoutMLP(1000, [], 1, input_dropout=0.3)
    network[1].weight.data.fill_(1)
    network[1].bias.data.zero_()
    kept = network.thinned(torch.ones(500, 1000), torch.Generator().manual_seed(0)) * 0.7
    # 500,000 draws of a Bernoulli(0.7): 5 standard errors are a false-alarm rate below 1e-6.
    assert kept.mean().item() / 1000 == pytest.approx(0.7, abs=5 * (0.21 / 500_000) ** 0.5)


def test_a_learned_variance_doubles_the_outputs() -> None:
    assert build_network(NetworkRecipe(variance="learned"), 4, 3)[-1].out_features == 6


def test_dropout_keeps_mean_and_has_the_variance_it_says() -> None:
    x = torch.tensor([3.0, -1.0]).expand(400_000, 2)
    draws = dropout(x, 0.3, torch.Generator().manual_seed(0)).double()
    assert set(draws.unique().tolist()) == {0.0, *(x[0] / 0.7).double().tolist()}
    # Two means and two variances, each within 5.2 standard errors: false-alarm rate 1e-6.
    spread = x[0] ** 2 * 0.3 / 0.7
    for moment, truth in ((draws, x[0]), ((draws - x[0]) ** 2, spread)):
        error = moment.std(0) / len(draws) ** 0.5
        assert ((moment.mean(0) - truth).abs() < 5.2 * error).all()


def test_dropout_at_its_ends_and_in_eval_mode() -> None:
    x, generator = torch.randn(5, 4), torch.Generator()
    assert torch.equal(dropout(x, 0.0, generator), x)
    assert torch.equal(dropout(x, 1.0, generator), torch.zeros(5, 4))
    network = DropoutMLP(4, [8], 2, dropout=0.5)
    plain = nn.Sequential(*(layer for layer in network if not isinstance(layer, nn.Dropout)))
    assert torch.equal(network.eval()(x), plain(x))


def test_spread_scales_the_variance_of_every_mask_and_shares_the_weights() -> None:
    network = DropoutMLP(4, [8, 8], 2, dropout=[0.2, 0.5], input_dropout=0.1).eval()
    other = with_spread(network, 0.25)
    rates = [layer.p for layer in other if isinstance(layer, nn.Dropout)]
    assert [p / (1 - p) for p in rates] == pytest.approx([0.25 / 9, 0.0625, 0.25])
    assert [layer.p for layer in network if isinstance(layer, nn.Dropout)] == [0.1, 0.2, 0.5]
    assert other[1].weight is network[1].weight
    assert not other.training
    x = torch.randn(3, 4)
    assert torch.equal(other(x), network(x))
    back = with_spread(other, 4.0)
    assert [m.p for m in back if isinstance(m, nn.Dropout)] == pytest.approx([0.1, 0.2, 0.5])
