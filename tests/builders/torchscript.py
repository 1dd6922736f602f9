"""TorchScript archives."""

import torch


def torchscript(path, arrays, half=False):
    """A TorchScript archive as OpenAI's: modules inside modules, with these arrays as parameters and buffers."""
    whole = torch.nn.Module()
    for name, value in arrays.items():
        *parents, last = name.split(".")
        module = whole
        for parent in parents:
            if not hasattr(module, parent):
                module.add_module(parent, torch.nn.Module())
            module = getattr(module, parent)
        if value.is_floating_point():
            module.register_parameter(last, torch.nn.Parameter(value.clone(memory_format=torch.preserve_format)))
        else:
            module.register_buffer(last, value)
    whole.input_resolution = 224
    script = torch.jit.script(whole.half() if half else whole)
    script.save(str(path))
