"""Model cards."""

from dataclasses import replace

import yaml

from bigr_cli.core.held_out import HeldOut
from bigr_cli.zoo.card import render_card, with_held_out
from bigr_cli.zoo.config import ModelConfig, Provenance


def test_the_front_matter_is_yaml(config: ModelConfig) -> None:
    card = render_card(replace(config, licence="MIT"))
    _, matter, text = card.split("---\n", 2)
    data = yaml.safe_load(matter)
    assert data["license"] == "mit"
    assert "bigr" in data["tags"]
    assert text.startswith("\n# small\n")
    assert "license" not in yaml.safe_load(render_card(config).split("---\n")[1])


def test_presets_are_shown(config: ModelConfig) -> None:
    presets = {"quality": {"steps": 32, "guidance": 2.5}, "draft": {"order": "halton", "rank_timesteps": 0}}
    presets["fast"] = {"guidance_interval": (0.5, 1.0), "steps": 6}
    card = render_card(replace(config, presets=presets))  # type: ignore[arg-type]
    assert "| quality | steps 32, guidance 2.5 |" in card
    assert "| draft | order halton, rank timesteps 0 |" in card
    assert "| fast | guidance interval 0.5 to 1, steps 6 |" in card
    assert "Presets" not in render_card(config)


def test_what_it_says(config: ModelConfig) -> None:
    origin = Provenance(data="scenes", steps=10, sources=("a", "b"))
    card = render_card(
        replace(config, provenance=origin), {"psnr": 31.25, "fidelity": {"fid": 2.5, "n": 5000}, "odd": "a|b\nc"}
    )
    for line in (
        "a, b, c",
        "| data | scenes |",
        "| sources | a, b |",
        "| psnr | 31.25 |",
        "| fidelity: fid | 2.5 |",
        "| fidelity: n | 5000 |",
        "| odd | a\\|b c |",
        "| timesteps | 100 |",
        'bigr generate "a" --model FOLDER',
        "FOLDER is the one in which this file is.",
    ):
        assert line in card.replace("\n\n", "\n").split("\n")
    assert "seed" not in card
    assert 'bigr generate "a" --model small' in render_card(replace(config, licence="MIT"))


def test_what_is_not_as_published_is_said(config: ModelConfig) -> None:
    assert config.generator
    other = replace(config.generator, head="x0", attention="causal")
    card = render_card(replace(config, generator=other, refine=7))
    assert "| codes of an image to be shown | looked for in 7 steps |" in card
    assert "| head | x0, not the published flip |" in card
    assert "| attention | causal: next-token prediction |" in card
    plain = render_card(config)
    assert "| head |" not in plain and "| attention |" not in plain and "to be shown" not in plain


def test_a_tokenizer_alone(config: ModelConfig) -> None:
    card = render_card(replace(config, generator=None, labels=()))
    assert "A tokenizer for bigr" in card
    assert "Sampling" not in card


def test_many_labels_are_cut_short(config: ModelConfig) -> None:
    assert config.generator
    labels = tuple(f"label {index}" for index in range(1000))
    card = render_card(replace(config, generator=replace(config.generator, classes=1000), labels=labels))
    assert "(1000 in all" in card
    assert "label 999" not in card


def test_which_images_it_knows_is_said_and_can_be_said_anew(config: ModelConfig) -> None:
    first = HeldOut(images=100, psnr=(26.0, 29.0), likelihood=(-0.4, -0.3))
    other = HeldOut(images=2000, psnr=(20.0, 21.0))
    card = render_card(replace(config, held_out=first), {"psnr": 30})
    assert "| PSNR of reconstructions in dB | 26.00, 29.00, 23.00 |" in card
    assert with_held_out(render_card(config, {"psnr": 30}), first) == card
    assert with_held_out(card, other) == render_card(replace(config, held_out=other), {"psnr": 30})
    assert "Images that it knows" not in render_card(config)
