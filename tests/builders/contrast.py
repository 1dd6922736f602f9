"""How well text can be read on a page in a browser."""

import re

import numpy as np


def contrast(page, selector):
    """Ratio of text and background (WCAG), by the colours that are computed."""
    colours = page.locator(selector).first.evaluate(
        """element => { let behind = element; const of = e => getComputedStyle(e).backgroundColor;
        while (/, 0\\)|transparent/.test(of(behind))) behind = behind.parentElement;
        return [getComputedStyle(element).color, of(behind)]; }"""
    )
    lights = []
    for colour in colours:
        rgb = np.array([int(v) for v in re.findall(r"\d+", colour)[:3]]) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    return (max(lights) + 0.05) / (min(lights) + 0.05)
