"""The lab's model: the same bytes everywhere, in the files and with the tokens that a real one has."""

import hashlib
import json
import random
import struct
from pathlib import Path

import pytest

from gx10.lab.kit import tiny_model


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return dict(tiny_model.files())


def test_the_model_is_the_same_bytes_on_every_machine(files: dict[str, bytes]) -> None:
    content = hashlib.sha256(b"".join(name.encode() + data for name, data in sorted(files.items())))
    assert content.hexdigest() == "42cc32fa0efc53a97bba71da4cf583fa519677ff77a5c8193c73293bb034267a"


def test_every_tensor_stands_in_the_shard_that_the_index_names(files: dict[str, bytes]) -> None:
    index = json.loads(files["model.safetensors.index.json"])
    found = {}
    for name, data in files.items():
        if name.endswith(".safetensors"):
            (length,) = struct.unpack_from("<Q", data)
            header = json.loads(data[8 : 8 + length])
            header.pop("__metadata__")
            ends = [tensor["data_offsets"] for tensor in header.values()]
            assert [start for start, _ in ends] == [0, *(end for _, end in ends[:-1])]
            assert ends[-1][1] == len(data) - 8 - length
            found |= dict.fromkeys(header, name)
    assert found == index["weight_map"]
    assert len(set(found.values())) > 1


def test_the_parsers_find_their_tokens_in_decoded_text(files: dict[str, bytes]) -> None:
    added = {token["content"]: token["special"] for token in json.loads(files["tokenizer.json"])["added_tokens"]}
    assert not any(added[token] for token in ("<think>", "</think>", "<tool_call>", "</tool_call>"))


def test_each_token_has_one_successor_and_the_sentence_ends(files: dict[str, bytes]) -> None:
    vocabulary = json.loads(files["tokenizer.json"])["model"]["vocab"]
    follows = tiny_model._successors(vocabulary, random.Random(1))  # noqa: S311 - no secret
    assert sorted(follows) == list(range(len(follows)))
    names = {index: token for token, index in vocabulary.items()}
    token, said = vocabulary["Ċ"], []
    while (token := follows[token]) != vocabulary["<|im_end|>"]:
        said.append(names[token])
    text = "".join(said).replace("Ġ", " ")
    assert text == f"{tiny_model.REASONING}</think>{tiny_model.CONTENT}"


def test_writing_again_changes_nothing_and_a_damaged_model_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / tiny_model.NAME
    tiny_model.write(target)
    made = target.stat().st_ino
    tiny_model.write(target)
    assert target.stat().st_ino == made
    shard = target / "model-00002-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    tiny_model.write(target)
    assert dict(tiny_model.files()) == {path.name: path.read_bytes() for path in target.iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == [tiny_model.NAME]
