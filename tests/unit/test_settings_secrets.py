"""A secret is told by its name or its form, and never repeated in a message."""

from __future__ import annotations

import pytest

from gx10.settings.secrets import HIDDEN, holds_secret, names_secret, shown


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "VLLM_API_KEY", "api-key", "S3_SECRET_ACCESS_KEY", "DB_PASSWORD", "hf_token", "TOKEN"]
)
def test_names_of_secrets_are_told(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "TOKENIZERS_PARALLELISM",
        "VLLM_MAX_TOKENS_PER_EXPERT_FP4_MOE",
        "VLLM_USE_FASTOKENS",
        "RAY_AUTH_TOKEN_PATH",
        "API_KEY_FILE",
        "key",
        "max_num_batched_tokens",
    ],
)
def test_names_that_only_sound_like_secrets_pass(name: str) -> None:
    assert not names_secret(name)


def test_tokens_are_told_by_their_form() -> None:
    assert holds_secret("see hf_abcdefghijklmnopqrstuv here")
    assert not holds_secret("hf_hub")


def test_a_secret_is_never_shown() -> None:
    assert shown("ray.environment.HF_TOKEN", "anything") == HIDDEN
    assert shown("name", ["hf_abcdefghijklmnopqrstuv"]) == HIDDEN
    assert shown("name", "four") == "'four'"


def test_a_long_value_is_shortened() -> None:
    assert len(shown("name", "x" * 500)) == 100
