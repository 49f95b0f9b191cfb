"""Label selectors, as the API server reads them."""

from __future__ import annotations

from tests.k8s.objects import Object, Pod


def matches(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a selector (matchLabels, matchExpressions) takes these labels; an empty one takes all."""
    return all(labels.get(name) == value for name, value in selector.get("matchLabels", {}).items()) and all(
        _matches(expression, labels) for expression in selector.get("matchExpressions", ())
    )


def _matches(expression: Object, labels: dict[str, str]) -> bool:
    value = labels.get(expression["key"])
    return {
        "In": value in expression.get("values", ()),
        "NotIn": value not in expression.get("values", ()),
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[expression["operator"]]


def selected(pods: list[Pod], selector: Object, namespace: str) -> list[Pod]:
    """The pods of a namespace that a selector takes."""
    return [pod for pod in pods if pod.namespace == namespace and matches(selector, pod.labels)]
