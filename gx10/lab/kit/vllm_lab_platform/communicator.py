"""Collectives between ranks on different hosts."""

from vllm.distributed.device_communicators.cpu_communicator import CpuCommunicator


class NetworkCommunicator(CpuCommunicator):  # type: ignore[misc] # vllm is installed in the engine image only
    """Gloo over the fabric, never shared memory.

    vLLM takes ranks for neighbours when their shared-memory group has one name, and that name holds no host, only a
    port: ranks of four hosts would each wait for the others in a /dev/shm of their own.
    """

    def _all_group_ranks_share_shm_group_name(self) -> bool:
        return False
