"""The operations of a PyTorch function, each of them once.

Layers are called one by one, and many compute the same: masks, positions, constants.
"""


def graph_of(function, tensors):
    """Returns the operations of a function.

    Args:
        function: A function from tensors to tensors; it may write into them.
        tensors: Its arguments.

    Returns:
        A `torch.fx.GraphModule`, which computes the same for arguments of these shapes,
        or None where operations depend on the values of tensors.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    try:
        module = make_fx(function)(*copies(tensors))
    except (RuntimeError, TypeError, ValueError):
        return None
    if _keeps_to_itself(module):
        _fold_constants(module)
        module = _merge_equals(module)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def copies(tensors):
    """Copies tensors that a function may write into, a tuple."""
    return tuple(tensor.clone() for tensor in tensors)


def _written(node):
    """Returns the nodes that an operation writes into."""
    return [x for x, info in _aliases(node) if info is not None and info.is_write]


def _aliases(node):
    if node.op != "call_function" or not hasattr(node.target, "_schema"):
        return []
    arguments = node.target._schema.arguments
    return [(x, y.alias_info) for x, y in zip(node.args, arguments, strict=False)]


def _keeps_to_itself(module):
    """Whether nothing else reads what is written, so that order does not matter."""
    return all(
        [*written.users] == [node]
        and not any(info is not None for _, info in _aliases(written))
        for node in module.graph.nodes
        for written in _written(node)
    )


def _stands_apart(node):
    """Whether another call could not take the place of this one."""
    import torch

    random = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
    return random or _written(node) or any(node in _written(x) for x in node.users)


def _fold_constants(module):
    """Computes once what depends on neither the arguments nor weights."""
    import torch

    values = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            value = getattr(module, node.target)
            # Weights change their values.
            if not isinstance(value, torch.nn.Parameter):
                values[node] = value
        elif node.op == "call_function" and not _stands_apart(node):
            if all(x in values for x in node.all_input_nodes):
                arguments = torch.fx.map_arg((node.args, node.kwargs), values.get)
                values[node] = node.target(*arguments[0], **arguments[1])
    for number, (node, value) in enumerate(values.items()):
        used = any(user not in values for user in node.users)
        if node.op == "call_function" and used and torch.is_tensor(value):
            module.register_buffer(f"_folded{number}", value)
            with module.graph.inserting_before(node):
                node.replace_all_uses_with(module.graph.get_attr(f"_folded{number}"))


def _merge_equals(module):
    from torch.fx.passes.dialect.common.cse_pass import CSEPass

    apart = {
        node.target.overloadpacket
        for node in module.graph.nodes
        if node.op == "call_function" and _stands_apart(node)
    }
    return CSEPass(apart)(module).graph_module
