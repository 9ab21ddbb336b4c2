#!/usr/bin/env python3
"""cpu-torch.py SITE LIBRARIES: PyTorch's libraries of the site-packages SITE, without their CUDA half, into LIBRARIES.

PyTorch from PyPI is linked against libtorch_cuda.so and, through it, against 2.5 GB of NVIDIA's libraries. On a machine
without a GPU none of their functions is called, but the linker wants them all. So libtorch_cuda.so is replaced by one
that has the names that libtorch_python.so asks for, and nothing behind them: a call would end the process at once.
Everything that computes on a CPU is PyTorch's own and untouched.
"""

import os
import shutil
import subprocess
import sys

# What is loaded at `import torch` besides. The NVIDIA ones are small, real, and say that there is no GPU.
TORCH = """libc10.so libc10_cuda.so libgomp.so.1 libshm.so libtorch.so libtorch_cpu.so libtorch_global_deps.so
libtorch_python.so""".split()
NVIDIA = """cu13/lib/libcudart.so.13 cu13/lib/libcufile.so.0 cu13/lib/libcupti.so.13 cudnn/lib/libcudnn.so.9""".split()
# c10d::get_gil_checker() is the one function that is called when PyTorch is loaded: it gives a place for a pointer.
PLACE = "_ZN4c10d15get_gil_checkerEv"


def main():
    site, libraries = sys.argv[1:]
    torch = f"{site}/torch/lib"
    if not os.path.exists(f"{torch}/libtorch_cuda.so"):  # built for CPUs only
        shutil.copytree(torch, f"{libraries}/torch/lib")
        return
    os.makedirs(f"{libraries}/torch/lib")
    for name in TORCH:
        shutil.copy(f"{torch}/{name}", f"{libraries}/torch/lib/{name}")
    # PyTorch's libraries look for NVIDIA's in ../../nvidia.
    for name in NVIDIA:
        target = f"{libraries}/nvidia/{name}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(f"{site}/nvidia/{name}", target)
    wanted = set().union(*(symbols(f"{torch}/{name}", "--undefined-only") for name in TORCH))
    # The second is reached through the first.
    there = {**symbols(f"{torch}/libtorch_nvshmem.so", "--defined-only"), **symbols(f"{torch}/libtorch_cuda.so", "--defined-only")}
    stub({name: kind for name, kind in there.items() if name in wanted}, f"{libraries}/torch/lib/libtorch_cuda.so")


def symbols(library, which):
    """The library's dynamic symbols, each with nm's letter for its kind."""
    table = subprocess.run(["nm", "-D", "-P", which, library], check=True, capture_output=True, text=True).stdout
    return {line.split()[0]: line.split()[1] for line in table.splitlines()}


def stub(names, out):
    """A library with these names. Type information is whole, as bindings are registered by it; a vtable is empty."""
    lines = [".section .note.GNU-stack,\"\",@progbits", ".data", "place: .quad 0"]
    for name, kind in sorted(names.items()):
        lines.append(f".globl {name}")
        if kind == "T":
            body = "lea place(%rip), %rax; ret" if name == PLACE else "ud2"
            lines += [".text", f".type {name},@function", f"{name}: {body}"]
        elif name.startswith("_ZTI"):
            lines += [".data", ".balign 8", f".type {name},@object", f".size {name},16"]
            lines += [f"{name}: .quad _ZTVN10__cxxabiv117__class_type_infoE+16, 1f", f'1: .asciz "{name[4:]}"']
        elif name.startswith("_ZTV"):
            lines += [".data", ".balign 8", f".type {name},@object", f".size {name},1024", f"{name}: .zero 1024"]
        else:
            sys.exit(f"cpu-torch: {name} of libtorch_cuda.so is neither a function nor a class; this PyTorch is not known")
    command = ["gcc", "-shared", "-nostdlib", "-o", out, "-Wl,-soname,libtorch_cuda.so", "-x", "assembler", "-"]
    subprocess.run(command, input="\n".join(lines) + "\n", check=True, text=True)


if __name__ == "__main__":
    main()
