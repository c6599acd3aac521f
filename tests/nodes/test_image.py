"""Every host runs the same image, with the pinned torch and the mods inside it."""

from __future__ import annotations

import json

from testinfra.host import Host

from gx10.described import units
from gx10.described.description import Description
from gx10.described.image_inputs import LABEL

PROVE = "python3 /opt/gx10/prove_image.py"


def test_image_is_of_the_described_inputs(node: Host, description: Description) -> None:
    found = json.loads(node.check_output(f"docker image inspect {description.image_reference}"))[0]
    assert found["Config"]["Labels"][LABEL] == description.inputs.digest


def test_images_are_equal_by_layers_on_all_hosts(nodes: dict[str, Host], description: Description) -> None:
    ask = f"docker image inspect --format '{{{{json .RootFS.Layers}}}}' {description.image_reference}"
    found = {name: node.check_output(ask) for name, node in nodes.items()}
    assert len(set(found.values())) == 1, f"layers differ between hosts: {found}"


def test_torch_and_mods_stand_in_the_running_container_as_they_were_built(
    node: Host, name: str, description: Description
) -> None:
    told = json.loads(node.check_output(f"docker exec {units.RAY_CONTAINER} {PROVE} --quick").splitlines()[-1])
    assert told["torch"] == description.image.torch.version, name
    assert told["cuda"] == description.image.torch.cuda, name
    assert set(description.image.mods) <= set(told["mods"]), f"{name}: an unpatched rank reserves the wrong memory"


# Offline, vLLM wants a model in its cache before it builds the arguments that the proof looks at.
def test_mods_work_when_imported(head: Host) -> None:
    done = head.run(f"docker exec --env HF_HUB_OFFLINE=0 {units.RAY_CONTAINER} {PROVE}")
    assert done.rc == 0, done.stderr
