"""What can be said of the image without building it: pinned, without root, and with all that its jobs need."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch

from tests.k8s.objects import K8S, config_map, render

IMAGE = K8S / "image" / "Dockerfile"
TEXT = re.sub(r"\\\n\s*", "", IMAGE.read_text())
INSTRUCTIONS = [line.split(maxsplit=1) for line in TEXT.splitlines() if line and not line.startswith("#")]


def of(name: str) -> list[str]:
    """The arguments of all instructions of a name."""
    return [rest for instruction, rest in INSTRUCTIONS if instruction == name]


def test_both_targets_run_as_user_1000() -> None:
    stages = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", TEXT, re.MULTILINE | re.DOTALL))
    for target in ("cpu", "cuda"):
        assert re.findall(r"^USER (\S+)$", stages[target], re.MULTILINE) == ["1000:1000"]
        assert f"--from={target}-packages /opt/venv /opt/venv" in stages[target]


def test_everything_is_pinned() -> None:
    (python,) = (value for value in of("ARG") if value.startswith("PYTHON="))
    assert re.fullmatch(r"PYTHON=3\.\d+\.\d+-slim-\w+", python)
    for package in re.findall(r"--no-install-recommends (.*?) &&", TEXT)[0].split():
        assert "=" in package, package
    constraints = (K8S.parent / "constraints.txt").read_text()
    for version in re.findall(r"torch==(\S+)", TEXT):
        assert f"\ntorch=={version}\n" in constraints
    assert TEXT.count("--constraint constraints.txt") == 2


def test_nothing_secret_and_nothing_remote_goes_in() -> None:
    assert not of("ADD")
    assert not re.search(r"PASSWORD|TOKEN|SECRET|AWS_", TEXT)


def test_what_is_copied_is_let_through() -> None:
    rules = (IMAGE.parent / "Dockerfile.dockerignore").read_text().splitlines()
    assert next(rule for rule in rules if not rule.startswith("#")) == "*"
    let_through = {rule[1:] for rule in rules if rule.startswith("!")}
    for line in of("COPY"):
        if not line.startswith("--from"):
            sources = line.split()[:-1]
            assert set(sources) <= let_through
            assert all((K8S.parent / source).exists() for source in sources)
    for heavy in (".venv/bin/python", "data/ecommerce", "runs/latest", ".git/HEAD", "tests/k8s"):
        assert not any(fnmatch(heavy, f"{rule}*") for rule in let_through)


def test_the_stores_clients_are_installed() -> None:
    project = tomllib.loads((K8S.parent / "pyproject.toml").read_text())["project"]
    extra = " ".join(project["optional-dependencies"]["cluster"])
    assert TEXT.count("'.[cluster]'") == 2
    settings = config_map(render(K8S / "base"), "feature-store")["feature_store.yaml"]
    assert "postgresql+psycopg" in settings
    assert "type: redis" in settings
    for client in ("psycopg", "redis", "s3fs"):
        assert client in extra
