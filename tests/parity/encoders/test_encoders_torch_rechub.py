"""DIN, HSTU, FM and DCN-v2 against the layers of torch-rechub, with its weights copied from ours, in float64.

Where torch-rechub departs from the papers, it is led back or kept away from: its activation unit has batch norms (set
to the identity: evaluation mode, mean 0, variance 1 - eps), reads target before entry (the weights' columns are
swapped), takes t - e where the paper has e - t (their sign is turned) and gives padding a weight (histories are full,
as its softmax has no mask); its cross layer adds the bias outside the product (b = 0 here). Its HSTU layer is compared
without times, whose buckets are others, and with one bias for all heads.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch_rechub.basic.layers import FM, CrossNetV2, HSTUBlock
from torch_rechub.models.ranking.din import ActivationUnit

from mtl_ray.models.encoders.interactions import DCNv2Config, FMConfig
from mtl_ray.models.encoders.layout import FieldLayout
from mtl_ray.models.encoders.sequences import HistorySize
from tests.unit.models.encoder_cases import build_sequence, random_history

ROWS, LENGTH, WIDTH = 12, 5, 4
SIZE = HistorySize(WIDTH, LENGTH, False, 0.01)


@pytest.mark.parametrize("softmax", [False, True])
def test_din(softmax: bool) -> None:
    mine = build_sequence({"name": "din", "hidden": [7, 5], "softmax": softmax}, SIZE)
    theirs = ActivationUnit(WIDTH, dims=[7, 5], activation="relu", use_softmax=softmax).double().eval()
    linears = [module for module in theirs.modules() if isinstance(module, nn.Linear)]
    with torch.no_grad():
        for module in theirs.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_var.fill_(1.0 - module.eps)
        for linear, own in zip(linears, [*mine.unit.linears, mine.weigh], strict=True):
            linear.weight.copy_(own.weight)
            linear.bias.copy_(own.bias if own.bias is not None else torch.zeros(1))
        entry, target, difference, product = mine.unit.linears[0].weight.chunk(4, dim=1)
        linears[0].weight.copy_(torch.cat([target, entry, -difference, product], dim=1))
    history = random_history(ROWS, LENGTH, WIDTH, ages=False)
    history = history._replace(present=torch.ones_like(history.present))
    torch.testing.assert_close(mine(history), theirs(history.entries, history.target), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (2, 2)])
def test_hstu(layers: int, heads: int) -> None:
    mine = build_sequence({"name": "hstu", "layers": layers, "heads": heads}, SIZE)
    size = WIDTH // heads
    theirs = HSTUBlock(WIDTH, heads, layers, size, size, dropout=0.0, max_seq_len=LENGTH + 1).double().eval()
    with torch.no_grad():
        for layer, own in zip(theirs.layers, mine.layers, strict=True):
            layer.norm_in.load_state_dict(own.norm.state_dict())
            layer.norm_attn.load_state_dict(own.mixed_norm.state_dict())
            layer.norm_attn.eps = own.mixed_norm.eps
            layer.proj2.load_state_dict(own.out.state_dict())
            for part in ("weight", "bias"):
                u, v, q, k = getattr(own.project, part).chunk(4)
                getattr(layer.proj1, part).copy_(torch.cat([q, k, u, v]))
            # Their row LENGTH + j - i; entries after i are masked.
            for distance in range(LENGTH + 1):
                layer.rab.pos_w[LENGTH - distance] = own.position_bias[distance]
                layer.rab.pos_w[LENGTH + distance] = own.position_bias[distance]
    history = random_history(ROWS, LENGTH, WIDTH, ages=False)
    assert history.target is not None
    x = torch.cat([history.entries, history.target.unsqueeze(1)], dim=1)
    seen = torch.cat([history.present, torch.ones(ROWS, 1, dtype=torch.bool)], dim=1)
    expected = theirs(x, padding_mask=seen)[:, -1]
    found = mine(history)
    full = history.present.any(dim=1)
    assert full.any()
    torch.testing.assert_close(found[full], expected[full], rtol=0, atol=1e-12)


def test_fm() -> None:
    layout = FieldLayout(("a", "b", "c", "d"), WIDTH, 0)
    x = torch.randn(ROWS, layout.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = FMConfig().build(layout)(x)[:, layout.size :]
    torch.testing.assert_close(found, FM(reduce_sum=False)(x.view(ROWS, 4, WIDTH)), rtol=0, atol=1e-12)


def test_dcn_v2() -> None:
    layout = FieldLayout(("a", "b"), WIDTH, 1)
    mine = DCNv2Config(layers=3).build(layout).double()
    theirs = CrossNetV2(layout.size, 3).double()
    with torch.no_grad():
        for linear, cross in zip(theirs.w, mine.cross, strict=True):
            linear.weight.copy_(cross.weight)
    x = torch.randn(ROWS, layout.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mine(x), theirs(x), rtol=0, atol=1e-12)
