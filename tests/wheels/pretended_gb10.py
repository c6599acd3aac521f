"""A CUDA platform that says it is one GB10 (sm_121, 119.7 GiB, integrated), to check configurations without a GPU."""

from vllm.platforms.cuda import NonNvmlCudaPlatform
from vllm.platforms.interface import DeviceCapability


class PretendedGB10(NonNvmlCudaPlatform):
    """What vLLM asks of a platform until its workers start."""

    @classmethod
    def get_device_capability(cls, device_id=0):
        return DeviceCapability(12, 1)

    @classmethod
    def get_device_name(cls, device_id=0):
        return "NVIDIA GB10"

    @classmethod
    def get_device_uuid(cls, device_id=0):
        return "GPU-pretended"

    @classmethod
    def get_device_total_memory(cls, device_id=0):
        return int(119.7 * 2**30)

    @classmethod
    def device_count(cls):
        return 1

    @classmethod
    def num_compute_units(cls, device_id=0):
        return 48

    @classmethod
    def is_integrated_gpu(cls, device_id=0):
        return True

    @classmethod
    def log_warnings(cls):
        pass


def register():
    """Entry point of `vllm.platform_plugins`."""
    return "pretended_gb10.PretendedGB10"
