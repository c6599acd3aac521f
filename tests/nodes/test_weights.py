"""Every host holds the head's weights, byte for byte."""

from __future__ import annotations

import json

from testinfra.host import Host

from gx10.described.description import Description


def test_weights_are_proven_against_the_manifest(node: Host, name: str, description: Description) -> None:
    root = description.model_directory
    done = node.run(f"/usr/local/bin/gx10-host content verify --manifest {root}/.gx10-manifest.json --in {root}")
    assert done.rc == 0, f"{name}: {done.stderr}"


def test_smallest_files_hash_as_the_manifest_says(node: Host, description: Description) -> None:
    root = description.model_directory
    files = json.loads(node.file(f"{root}/.gx10-manifest.json").content_string)["files"]
    for entry in sorted(files, key=lambda entry: entry["size"])[:10]:
        assert node.file(f"{root}/{entry['path']}").sha256sum == entry["sha256"]


def test_manifests_are_equal_on_all_hosts(nodes: dict[str, Host], description: Description) -> None:
    manifest = f"{description.model_directory}/.gx10-manifest.json"
    found = {name: node.file(manifest).sha256sum for name, node in nodes.items()}
    assert len(set(found.values())) == 1, f"manifests differ between hosts: {found}"
