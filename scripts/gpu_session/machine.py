"""The machine of a session, and whether PyTorch can compute on its GPU."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from handlit.errors import InputError, one_line
from scripts.benchmarks.measure import machine
from scripts.gpu_session.piece import Emit, NotHere, Setting

#: Packages whose versions figures may depend on.
PACKAGES = ("torchvision", "timm", "pytorch-lightning", "triton", "numpy", "opencv-python-headless", "nvidia-nccl-cu13")
_OLD = "driver on your system is too old"


def check_cuda(device: torch.device) -> None:
    """Refuse a device that cannot compute.

    Raises:
        InputError: This PyTorch is built without CUDA, there is no driver or no GPU, the driver is too old, or this
            PyTorch has no code for this GPU.
    """
    if device.type != "cuda":
        return
    smoke = "python -m scripts.gpu_session --smoke checks the script without one"
    if torch.version.cuda is None:
        raise InputError(f"PyTorch {torch.__version__} is built without CUDA: install its CUDA build, or {smoke}")
    try:
        torch.cuda.init()
        side = torch.ones(8, 8, device=device)
        (side @ side).sum().item()
    except (RuntimeError, AssertionError) as error:
        if _OLD in str(error):
            raise InputError(
                f"the NVIDIA driver ({driver()}) is too old for PyTorch {torch.__version__}, which is built for CUDA "
                f"{torch.version.cuda}: update the driver, or install a PyTorch built for an older CUDA"
            ) from error
        raise InputError(f"no CUDA device can be used here ({one_line(error)}): {smoke}") from error


def driver() -> str:
    """Version of the NVIDIA driver, as far as the machine tells."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.split("\n")[0].strip() or "unknown"
    except (OSError, subprocess.SubprocessError):
        pass
    try:
        return Path("/proc/driver/nvidia/version").read_text().split("\n")[0].strip()
    except OSError:
        return "unknown"


def describe(setting: Setting, emit: Emit) -> None:
    """Say, a fact a note, what figures were measured on; a device that cannot compute is `NotHere`."""
    device = setting.device
    try:
        check_cuda(device)
    except InputError as error:
        raise NotHere(str(error)) from error
    facts: dict[str, object] = {**machine(device, torch.get_num_threads()), "system": platform.platform()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts["driver"] = driver()
        facts["GPUs"] = torch.cuda.device_count()
        facts["GPU memory"] = f"{properties.total_memory / 2**30:.1f} GiB"
        facts["compute capability"] = f"{properties.major}.{properties.minor}"
        facts["float32 products"] = f"{torch.get_float32_matmul_precision()}, TF32 in cuDNN {_tf32()}"
    for package in PACKAGES:
        facts[package] = _version(package)
    for name, fact in facts.items():
        emit(f"{name}: {fact}")


def _tf32() -> bool:
    return bool(torch.backends.cudnn.allow_tf32)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
