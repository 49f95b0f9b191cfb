"""Where a graph's shared dense parameters end on the way down, so that what lies below is passed through once."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import Tensor
from torch.autograd.graph import GradientEdge, Node


def frontier(losses: Sequence[Tensor], leaves: Sequence[Tensor], parameters: Collection[Tensor]) -> list[GradientEdge]:
    """The edges of the graph at which the way from `losses` to `leaves` leaves the last of `parameters` behind.

    A node is on it that reads a parameter, or what depends on one, and also what leads to a leaf and depends on none:
    of a first layer's product, one operand is its weight, the other is what was looked up. A pass from a loss to
    `parameters` stops there and does not compute the gradient of that operand, which is a third of such a layer's work;
    from a sum of several passes' gradients at these edges one more pass goes on to the leaves. What leads to a
    leaf and meets no parameter on the way begins at the loss itself.

    Where such a node's other operands lead to a leaf as well (what an attention over a history gives beside what was
    looked up), that pass would take their way too: then the edges are those of the leaves themselves. The same forward
    pass gives the same edges in the same order.
    """
    at_leaves = [_node_of(leaf) for leaf in leaves]
    to_leaf = set(at_leaves)
    with_parameter = {_node_of(parameter) for parameter in parameters}
    roots = [loss.grad_fn for loss in losses if loss.grad_fn is not None]
    found: dict[Node, None] = {}
    for node in _children_first(roots):
        children = [child for child, _ in node.next_functions if child is not None]
        leading = {child for child in children if child in to_leaf}
        if leading:
            to_leaf.add(node)
        if any(child in with_parameter for child in children):
            with_parameter.add(node)
            last = leading - with_parameter
            if last and last != leading:
                return [GradientEdge(leaf, 0) for leaf in at_leaves]
            if last:
                found[node] = None
    found |= dict.fromkeys(root for root in roots if root in to_leaf and root not in with_parameter)
    return [GradientEdge(node, at) for node in found for at in range(len(node._input_metadata))]


def _node_of(leaf: Tensor) -> Node:
    """What accumulates its gradient."""
    node = leaf.view_as(leaf).grad_fn
    assert node is not None
    accumulate, _ = node.next_functions[0]
    assert accumulate is not None
    return accumulate


def _children_first(roots: Sequence[Node]) -> list[Node]:
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(root, False) for root in reversed(roots)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((child, False) for child, _ in node.next_functions if child is not None and child not in seen)
    return order
