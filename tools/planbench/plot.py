"""A plot of predicted against measured memory, as SVG by hand."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from planbench.scores import Guess

_SIZE, _LEFT, _TOP = 460, 60, 20
_COLOURS = {
    "dense text": "#1a73e8",
    "multimodal": "#e8710a",
    "mixture of experts": "#188038",
}
_STEP = 5


def plot(found: Sequence[Guess]) -> str:
    """The runs as points, the line on which a prediction is right, a legend."""
    most = max(max(guess.run.non_kv_gib, guess.parts.non_kv_gib) for guess in found)
    most = (int(most) // _STEP + 1) * _STEP

    def across(gib: float) -> float:
        return _LEFT + gib / most * _SIZE

    def up(gib: float) -> float:
        return _TOP + _SIZE - gib / most * _SIZE

    height, width = _TOP + _SIZE + 60, _LEFT + _SIZE + 20
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
            f'height="{height}" viewBox="0 0 {width} {height}" '
            'font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for gib in range(0, most + 1, _STEP):
        x, y = across(gib), up(gib)
        lines += [
            (
                f'<path d="M{x:.1f} {_TOP}V{_TOP + _SIZE}'
                f'M{_LEFT} {y:.1f}H{_LEFT + _SIZE}" '
                'stroke="#e0e0e0"/>'
            ),
            (
                f'<text x="{x:.1f}" y="{_TOP + _SIZE + 16}" text-anchor="middle">{gib}'
                "</text>"
            ),
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{gib}</text>',
        ]
    lines.append(
        f'<path d="M{across(0):.1f} {up(0):.1f}L{across(most):.1f} {up(most):.1f}" '
        'stroke="#5f6368" stroke-dasharray="4 3"/>'
    )
    for guess in found:
        lines.append(
            f'<circle cx="{across(guess.run.non_kv_gib):.1f}" '
            f'cy="{up(guess.parts.non_kv_gib):.1f}" r="4" fill-opacity="0.6" '
            f'fill="{_COLOURS[guess.run.kind]}"><title>{escape(guess.run.label)}: '
            f"measured {guess.run.non_kv_gib:.2f}, predicted "
            f"{guess.parts.non_kv_gib:.2f} GiB</title></circle>"
        )
    lines += [
        (
            f'<text x="{_LEFT + _SIZE / 2}" y="{height - 24}" text-anchor="middle">'
            "measured without the cache, GiB on one GPU</text>"
        ),
        (
            f'<text transform="translate(16 {_TOP + _SIZE / 2}) rotate(-90)" '
            'text-anchor="middle">predicted, its family left out, GiB</text>'
        ),
    ]
    for row, (kind, colour) in enumerate(_COLOURS.items()):
        y = _TOP + 20 + 18 * row
        lines += [
            f'<circle cx="{_LEFT + 16}" cy="{y - 4}" r="4" fill="{colour}"/>',
            f'<text x="{_LEFT + 28}" y="{y}">{kind}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
