"""Our manifests pass every check, and every broken variant of them is caught."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest
import yaml

from tests.k8s.broken import VARIANTS, Rendered, Variant
from tests.k8s.checks import CHECKS, findings
from tests.k8s.conftest import OVERLAYS, components
from tests.k8s.objects import K8S, Object, pods, render

NEEDS = {"monitoring": ("feast",)}
"""Components that speak of another one's pods."""


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_clean(overlays: dict[str, list[Object]], overlay: str) -> None:
    assert len(list(pods(overlays[overlay]))) >= 15
    assert findings(overlays[overlay]) == {}


def test_the_base_is_clean() -> None:
    assert findings(render(K8S / "base")) == {}


@pytest.mark.parametrize("component", components(), ids=lambda folder: folder.name)
def test_a_component_on_the_base_is_clean(component: Path, tmp_path: Path) -> None:
    here = tmp_path.resolve()
    names = [*NEEDS.get(component.name, ()), component.name]
    composed = {
        "resources": [os.path.relpath(K8S / "base", here)],
        "components": [os.path.relpath(K8S / "components" / name, here) for name in names],
    }
    (here / "kustomization.yaml").write_text(yaml.safe_dump(composed))
    assert findings(render(here)) == {}


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.fault.replace(" ", "_"))
def test_a_broken_variant_is_caught(overlays: dict[str, list[Object]], variant: Variant) -> None:
    rendered = Rendered(copy.deepcopy(overlays[variant.overlay]))
    variant.make(rendered)
    assert rendered.objects != overlays[variant.overlay]
    found = list(CHECKS[variant.check](rendered.objects))
    assert found, f"{variant.check} missed it"
    assert variant.says in " ".join(found)


def test_the_variants_are_of_every_kind() -> None:
    assert len({variant.fault for variant in VARIANTS}) == len(VARIANTS) >= 20
    assert {variant.check for variant in VARIANTS} == set(CHECKS)
