"""How many parameters a model has, from its config alone (so that listing models needs no torch)."""

from bigr_cli.core.config import BYTES, AutoencoderConfig, CompactConfig, GeneratorConfig, TextConfig, TokenizerConfig
from bigr_cli.zoo.config import ModelConfig

_TIME_WAVES = 256  # numbers in the sinusoid of a timestep


def parameters(config: ModelConfig) -> dict[str, int]:
    """The number of parameters of "tokenizer" and, if there is one, "generator"."""
    counts = {"tokenizer": tokenizer_parameters(config.tokenizer)}
    if config.generator is not None:
        counts["generator"] = generator_parameters(config.generator)
    return counts


def tokenizer_parameters(config: TokenizerConfig) -> int:
    """The number of parameters of a tokenizer: encoder, decoder, and both sides of the codes."""
    if isinstance(config, AutoencoderConfig):
        return _autoencoder(config) + _codes(config.embedding, config.bits)
    return _compact(config) + _codes(config.channels[-1], config.bits)


def generator_parameters(config: GeneratorConfig) -> int:
    """The number of parameters of a generator: transformer and transcoder."""
    dim, width, bits = config.dim, config.transcoder_width, config.bits
    block = 6 * dim + 2 * dim + 4 * dim * dim + 3 * dim * config.ffn_width
    condition = (config.classes + 1) * dim if config.text is None else _texts(config.text, dim)
    embeddings = condition + _linear(bits, dim) + dim + config.tokens * dim
    transformer = embeddings + _linear(dim, 6 * dim) + config.layers * block + dim
    inputs = _linear(_TIME_WAVES, width) + _linear(width, width) + _linear(bits, width) + _linear(dim, width)
    denoiser = 2 * _linear(width, width) + _linear(width, 3 * width)
    outputs = _linear(width, 2 * width) + _linear(width, bits)
    return transformer + inputs + config.transcoder_layers * denoiser + outputs


def _texts(config: TextConfig, dim: int) -> int:
    width = config.width
    projection = _linear(width, dim) + 2 * _linear(dim, dim) + dim
    if config.encoder != BYTES:
        return projection
    hidden = 32 * round(8 * width / 3 / 32)
    block = 2 * width + 4 * width * width + 3 * width * hidden
    return projection + (257 + config.tokens) * width + config.layers * block + width


def _linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def _conv(inputs: int, outputs: int) -> int:
    """A 3×3 convolution."""
    return 9 * inputs * outputs + outputs


def _codes(width: int, bits: int) -> int:
    return _linear(width, bits) + bits * width


def _residual(channels: int, out_channels: int) -> int:
    shortcut = _linear(channels, out_channels) if channels != out_channels else 0
    norms = 2 * (channels + out_channels)
    return norms + _conv(channels, out_channels) + _conv(out_channels, out_channels) + shortcut


def _attention(channels: int) -> int:
    return 2 * channels + 4 * _linear(channels, channels)


def _levels(config: AutoencoderConfig, channels: int, order: list[int]) -> tuple[int, int]:
    """Parameters of the levels in this order, and the channels that come out."""
    total = 0
    for place, level in enumerate(order):
        width = config.channels * config.multipliers[level]
        for _ in range(config.res_blocks):
            total += _residual(channels, width)
            channels = width
            if config.image_size // 2**level in config.attention_resolutions:
                total += _attention(channels)
        total += _conv(channels, channels) if place < len(order) - 1 else 0
    return total, channels


def _autoencoder(config: AutoencoderConfig) -> int:
    levels, embedding = list(range(len(config.multipliers))), config.embedding
    down, deepest = _levels(config, config.channels, levels)
    up, last = _levels(config, deepest, levels[::-1])
    middle = 2 * _residual(deepest, deepest) + _attention(deepest)
    encoder = _conv(3, config.channels) + down + middle + 2 * deepest + _conv(deepest, embedding)
    norm = 2 * embedding if config.norm_first else 0
    return encoder + norm + _conv(embedding, deepest) + middle + up + 2 * last + _conv(last, 3)


def _compact(config: CompactConfig) -> int:
    channels, last = config.channels, config.channels[-1]
    total = 2 * last + _conv(last, last) + 2 * channels[0]
    for level, width in enumerate(channels):
        finer = channels[level - 1] if level else 3
        blocks = config.encoder_blocks[level] + config.decoder_blocks[level]
        convolutions = 2 * width + 2 * _conv(width, width)
        if level == len(channels) - 1:
            hidden = 32 * round(8 * width / 3 / 32)
            total += 2 * convolutions + blocks * (2 * width + 4 * width * width + 3 * width * hidden)
        else:
            total += blocks * convolutions
        total += _conv(4 * finer, width) + _conv(width, 4 * finer)
    return total
