"""Settings: what the environment says, and the one sentence for what it may not say."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from bot.config import Settings, load_settings
from bot.errors import ConfigurationError
from tools import environment

NOWHERE = Path("does-not-exist.env")


def test_an_empty_environment_gives_the_defaults() -> None:
    assert load_settings({}, NOWHERE) == Settings()


def test_values_are_read_and_converted() -> None:
    settings = load_settings(
        {
            "FLUX_MODELS": "tiny",
            "SEGMENTER": "CIDAS/clipseg-rd16",
            "DEVICE": "cuda:1",
            "GPU_MEMORY_GB": "15.5",
            "QUANTIZATION": "none",
            "DATA_DIR": "/srv/flux",
            "DATA_LIMIT_GB": "0.5",
            "LEAVERS": "Purge",
            "DEV_GUILD_ID": "123456789012345678",
            "ALLOWED_SERVERS": "123456789012345678, 223456789012345678",
            "DIRECT_MESSAGES": "off",
            "SHARD_COUNT": "4",
            "EXECUTOR": "Ray",
            "RAY_ADDRESS": "head:6379",
            "RAY_MIN_REPLICAS": "2",
            "RAY_MAX_REPLICAS": "8",
            "METRICS_PORT": "9464",
            "METRICS_HOST": "0.0.0.0",
            "LOG_LEVEL": "debug",
        },
        NOWHERE,
    )
    assert settings == Settings(
        flux_models="tiny",
        segmenter="CIDAS/clipseg-rd16",
        device=("cuda:1",),
        gpu_memory_gb=15.5,
        quantization="None",
        data_dir=Path("/srv/flux"),
        data_limit_gb=0.5,
        leavers="purge",
        dev_guild_id=123456789012345678,
        allowed_servers=frozenset({123456789012345678, 223456789012345678}),
        direct_messages="off",
        shard_count=4,
        executor="ray",
        ray_address="head:6379",
        ray_min_replicas=2,
        ray_max_replicas=8,
        metrics_port=9464,
        metrics_host="0.0.0.0",
        log_level="DEBUG",
    )


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("FLUX_MODELS=tiny\nLOG_FORMAT=json\n")
    settings = load_settings({"FLUX_MODELS": "flux"}, file)
    assert (settings.flux_models, settings.log_format) == ("flux", "json")


def test_an_empty_value_is_no_value() -> None:
    assert load_settings({"GPU_MEMORY_GB": "", "DEVICE": " "}, NOWHERE) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FLUX_MODELS", "large"),
        ("SEGMENTER", "off"),
        ("DEVICE", "gpu"),
        ("DEVICE", "cuda:0,cuda:0"),
        ("DEVICE", "cuda:0,cpu"),
        ("DEVICE", "cuda:0,"),
        ("SHARD_COUNT", "0"),
        ("RAY_MIN_REPLICAS", "-1"),
        ("RAY_MAX_REPLICAS", "many"),
        ("METRICS_PORT", "0"),
        ("METRICS_PORT", "70000"),
        ("GPU_MEMORY_GB", "much"),
        ("GPU_MEMORY_GB", "-1"),
        ("HOST_MEMORY_GB", "nan"),
        ("DATA_LIMIT_GB", "0"),
        ("LEAVERS", "forget"),
        ("HOST_MEMORY_GB", "inf"),
        ("QUANTIZATION", "4-bit"),
        ("DEV_GUILD_ID", "my server"),
        ("EXECUTOR", "cloud"),
        ("RAY_ADDRESS", "ray://head:10001"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("CLASSIFIER", "/not/a/folder"),
        ("CLASSIFIER", "on"),
        ("CLASSIFIER_LABELS", ","),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({name: value}, NOWHERE)
    sentence = str(caught.value)
    assert sentence.startswith(f"{name} is `{value}`. Allowed: ")
    assert "\n" not in sentence


def test_several_gpus_are_named_with_commas() -> None:
    assert load_settings({"DEVICE": "cuda:0, cuda:2"}, NOWHERE).device == ("cuda:0", "cuda:2")


def test_at_most_fewer_replicas_than_at_least_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"^RAY_MAX_REPLICAS is `2`\. .* which is 3,"):
        load_settings({"RAY_MIN_REPLICAS": "3", "RAY_MAX_REPLICAS": "2"}, NOWHERE)


def test_a_classifier_is_a_repository_or_a_folder_and_has_labels(tmp_path: Path) -> None:
    for name in ("Falconsai/nsfw_image_detection", str(tmp_path)):
        values = {"CLASSIFIER": name, "CLASSIFIER_LABELS": "NSFW, not for work,, "}
        settings = load_settings(values, NOWHERE)
        assert settings.classifier == name
        assert settings.classifier_labels == ("NSFW", "not for work")


def test_a_missing_token_is_missed_only_when_it_is_needed() -> None:
    settings = load_settings({}, NOWHERE)
    with pytest.raises(ConfigurationError, match=r"^DISCORD_TOKEN is not set\."):
        settings.require_token()


def test_a_broken_env_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("DEVICE=cpu\n'unfinished = x\n")
    with pytest.raises(ConfigurationError, match=r"\.env has a fault in line 2\."):
        load_settings({}, file)


def test_an_env_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"\xff\xfe\x00D")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_settings({}, file)


@pytest.mark.parametrize(
    ("path", "text"),
    [(environment.EXAMPLE, environment.example()), (environment.PAGE, environment.page())],
    ids=["example", "page"],
)
def test_what_is_said_of_the_variables_is_what_they_are(path: Path, text: str) -> None:
    assert path.read_text(encoding="utf-8") == text, "python -m tools.environment"


def test_the_example_names_every_variable_and_is_itself_valid() -> None:
    example = environment.EXAMPLE
    named = re.findall(r"^([A-Z0-9_]+)=", example.read_text(), re.MULTILINE)
    assert named == [field.name.upper() for field in fields(Settings)]
    assert load_settings({}, example) == Settings()


def test_the_page_has_a_row_for_every_variable() -> None:
    rows = re.findall(r"^\| `([A-Z0-9_]+)` \|(.+)\|(.+)\|(.+)\|$", environment.page(), re.MULTILINE)
    assert [name for name, *_ in rows] == [field.name.upper() for field in fields(Settings)]
    assert all(cell.strip() for row in rows for cell in row)


def test_tokens_are_not_shown_with_the_settings() -> None:
    settings = load_settings({"DISCORD_TOKEN": "secret-1", "HF_TOKEN": "secret-2"}, NOWHERE)
    assert "secret" not in repr(settings)
    assert settings.secrets == ["secret-1", "secret-2"]
