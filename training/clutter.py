"""Draw what resembles a mark and is none: text, badges, pages, lamps, pale round things."""

from __future__ import annotations

import cv2
import numpy as np
from marks import Box, Floats, Matte, fonts, icon, paste, scaled, text_alpha

WORDS = """
    Live News today Subscribe the and with for Channel REC 00:12:45 2024-06-18 Free Sale Open
    Coffee Sara Solo Zora Soda Sony Aurora Stop Exit Menu Play Pause Settings Follow Like Share
    Save Home Search Hello World Music Radio Cloud Weather 24 100% HD 4K Photo Studio Design Media
    Video TikTok Story Editor Preview Camera Level Score Lives START Order Delivery Hotel City
    Bank Police Taxi Sofa Soho Some Store Sure More Sport 3:1 GOAL Sorry Error Send OK Cancel Edit
""".split()  # noqa: SIM905 - a list of them would fill a page

ALIKE = """
    Bora Sara Solo Zora Sofa Soda Soho Sore Sera Gora Nora Snap Some Sort Fora Store 50ra Sona
""".split()  # noqa: SIM905 - as above


def word(rng: np.random.Generator) -> str:
    chance = rng.random()
    if chance < 0.08:
        return str(rng.choice(ALIKE))
    if chance < 0.5:
        return str(rng.choice(WORDS))
    letters = "".join(rng.choice(list("abcdefghijklmnoprstuvwyz"), rng.integers(2, 9)))
    return letters.title() if rng.random() < 0.6 else letters


def colour(rng: np.random.Generator, *, white: bool) -> Floats:
    if white:
        return (rng.uniform(215, 255) + rng.uniform(-4, 4, 3)).clip(0, 255).astype(np.float32)
    return rng.uniform(0, 255, 3).astype(np.float32)


def flat(alpha: Floats) -> Matte:
    return Matte(alpha, np.full_like(alpha, 255))


def soft(matte: Matte, sigma: float) -> Matte:
    edge = int(2 * sigma) + 1
    alpha, tone = (
        cv2.copyMakeBorder(plane, *[edge] * 4, how)
        for plane, how in ((matte.alpha, cv2.BORDER_CONSTANT), (matte.tone, cv2.BORDER_REPLICATE))
    )
    return Matte(cv2.GaussianBlur(alpha, (0, 0), sigma), tone)


def badge(rng: np.random.Generator) -> Floats:
    """A round, square, polygonal or cloudy sign (96, 96), often with a hole."""
    shape = rng.random()
    if shape < 0.35:
        return icon(rng, eyes=False).alpha
    sign = np.zeros((96, 96), np.float32)
    if shape < 0.6:
        cv2.circle(sign, (48, 48), 46, 1.0, int(rng.choice([-1, 6, 12])), cv2.LINE_AA)
    elif shape < 0.8:
        cv2.rectangle(sign, (4, 4), (91, 91), 1.0, int(rng.choice([-1, 8])), cv2.LINE_AA)
    else:
        corners = rng.uniform(0, 95, (int(rng.integers(3, 7)), 2)).astype(np.int32)
        cv2.fillPoly(sign, [corners], 1.0, cv2.LINE_AA)
    if rng.random() < 0.5:
        x, y = (int(v) for v in rng.integers(20, 76, 2))
        cv2.circle(sign, (x, y), int(rng.integers(6, 22)), 0.0, -1, cv2.LINE_AA)
    return sign


def lines(rng: np.random.Generator, picture: Floats, scale: float) -> None:
    """Lines of text, as in documents, menus and subtitles."""
    size = picture.shape[0]
    high = scale * rng.uniform(6, 26)
    face = str(rng.choice(fonts()[1]))
    ink = colour(rng, white=rng.random() < 0.6)
    if rng.random() < 0.5:
        ground = colour(rng, white=rng.random() < 0.4)
        y0, y1 = sorted(rng.integers(0, size, 2))
        picture[y0:y1] += (ground - picture[y0:y1]) * np.float32(rng.uniform(0.3, 1))
    x, y = rng.uniform(-0.2, 0.5) * size, rng.uniform(0, 0.9) * size
    for _ in range(int(rng.integers(1, 12))):
        said = " ".join(word(rng) for _ in range(int(rng.integers(1, 6))))
        letters = flat(text_alpha(said, face, max(5, int(high))))
        paste(picture, letters, int(x), int(y), rng.uniform(0.5, 1), ink)
        y += high * rng.uniform(1.1, 1.6)


def lone_words(rng: np.random.Generator, picture: Floats, scale: float) -> None:
    """A bold word, or several, in a mark's place and opacity; sometimes on a button."""
    bold, latin = fonts()
    for _ in range(int(rng.integers(1, 4))):
        face = str(rng.choice(bold if rng.random() < 0.6 else latin))
        said = str(rng.choice(["0 ", "O ", "1: ", "(o) ", "# "])) if rng.random() < 0.2 else ""
        letters = text_alpha(said + word(rng), face, max(6, int(scale * rng.uniform(8, 34))))
        x, y = (int(v) for v in rng.integers(0, picture.shape[0], 2))
        if rng.random() < 0.3:
            h, w = letters.shape
            edge = int(h * rng.uniform(0.3, 1))
            button = np.s_[max(0, y - edge) : y + h + edge, max(0, x - edge) : x + w + edge]
            picture[button] = colour(rng, white=False) * np.float32(rng.uniform(0.2, 1))
        ink = colour(rng, white=rng.random() < 0.6)
        paste(picture, flat(letters), x, y, rng.uniform(0.4, 1), ink)


def logos(rng: np.random.Generator, picture: Floats, scale: float) -> None:
    """A badge and a word, another program's mark; or a menu of them."""
    high = scale * np.exp(rng.uniform(np.log(8), np.log(48)))
    x, y = (int(v) for v in rng.integers(0, picture.shape[0], 2))
    opacity, ink = rng.uniform(0.4, 1), colour(rng, white=rng.random() < 0.8)
    face = str(rng.choice(fonts()[0]))
    large = rng.uniform(0.5, 0.95)
    for _ in range(1 if rng.random() < 0.7 else int(rng.integers(2, 7))):
        paste(picture, scaled(flat(badge(rng)), high / 96), x, y, opacity, ink)
        if rng.random() < 0.7:
            letters = flat(text_alpha(word(rng), face, max(5, int(high * large))))
            paste(picture, letters, int(x + high * 1.3), int(y + high * 0.2), opacity, ink)
        y += int(high * rng.uniform(1.2, 2))


def pale_things(rng: np.random.Generator, picture: Floats, scale: float) -> None:
    """Discs, clouds without eyes and blobs; beside some, strokes that are no letters, or bars."""
    size = picture.shape[0]
    for _ in range(int(rng.integers(1, 7))):
        high = scale * rng.uniform(5, 60)
        disc = np.zeros((96, 96), np.float32)
        cv2.circle(disc, (48, 48), 46, 1.0, -1, cv2.LINE_AA)
        if rng.random() < 0.4:
            rough = cv2.GaussianBlur(rng.random((96, 96), np.float32), (0, 0), rng.uniform(6, 14))
            disc *= rough > np.median(rough)
        blob = scaled(flat(icon(rng, eyes=False).alpha if high > 30 * scale else disc), high / 96)
        if rng.random() < 0.4:
            blob = soft(blob, 0.1 * high + 0.3)
        x, y = (int(v) for v in rng.integers(-10, size, 2))
        opacity, ink = rng.uniform(0.3, 1), colour(rng, white=rng.random() < 0.8)
        paste(picture, blob, x, y, opacity, ink)
        beside = rng.random()
        if beside < 0.15:
            step = int(high * rng.uniform(0.2, 0.7)) + 2
            for left in range(int(x + high), int(x + 4 * high), step):
                bar = np.s_[max(0, y) : max(0, y + int(high)), max(0, left) : left + step * 2 // 3]
                picture[bar] *= np.float32(rng.uniform(0.1, 0.5))
        elif beside < 0.4:
            strokes = np.zeros((48, 144), np.float32)
            for _ in range(int(rng.integers(2, 9))):
                a, b = rng.integers(4, [140, 44], (2, 2))
                b = a + (b - a) // 3
                thick = int(rng.integers(3, 14))
                cv2.line(strokes, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])), 1.0, thick)
            paste(
                picture,
                scaled(flat(strokes), high / 70),
                int(x + 1.3 * high),
                int(y + 0.2 * high),
                opacity,
                ink,
            )


def lamps(rng: np.random.Generator, picture: Floats, scale: float) -> None:
    """Night: the picture goes dark, lamps with a glow stand in it, alone, in pairs or in rows."""
    picture *= np.float32(rng.uniform(0.05, 0.9))
    size = picture.shape[0]
    for _ in range(int(rng.integers(1, 5))):
        high = scale * np.exp(rng.uniform(np.log(4), np.log(40)))
        warm = np.array([255, rng.uniform(200, 255), rng.uniform(120, 255)], np.float32)
        x, y = (int(v) for v in rng.integers(0, size, 2))
        step = high * rng.uniform(1.1, 5)
        for number in range(int(rng.choice([1, 1, 2, 3, 5]))):
            bulb = np.zeros((128, 128), np.float32)
            axes = (int(rng.integers(12, 33)), int(rng.integers(12, 33)))
            cv2.ellipse(bulb, ((64, 64), axes, float(rng.uniform(0, 180))), 1.0, -1)
            glow = cv2.GaussianBlur(bulb, (0, 0), rng.uniform(6, 20)) * rng.uniform(0.3, 1)
            light = scaled(flat(np.maximum(bulb, glow).astype(np.float32)), high / 32)
            at = int(x + number * step), int(y + rng.uniform(-0.2, 0.2) * high)
            paste(picture, light, *at, rng.uniform(0.5, 1), warm)


def buttons(rng: np.random.Generator, picture: Floats, scale: float) -> None:
    """Round buttons of a screen (close, play, menu, radio) and switches, some beside a word."""
    high = scale * np.exp(rng.uniform(np.log(7), np.log(40)))
    ink, opacity = colour(rng, white=rng.random() < 0.6), rng.uniform(0.4, 1)
    face = str(rng.choice(fonts()[0]))
    x, y = (int(v) for v in rng.integers(0, picture.shape[0], 2))
    for _ in range(int(rng.choice([1, 1, 2, 3, 5]))):
        sign = np.zeros((96, 96), np.float32)
        cv2.circle(sign, (48, 48), 46, 1.0, int(rng.choice([-1, -1, 8])), cv2.LINE_AA)
        within = 1.0 - float(sign[48, 48])
        a, b, thick = int(rng.integers(26, 40)), int(rng.integers(56, 70)), int(rng.integers(5, 15))
        kind = rng.random()
        if kind < 0.5:  # close, or plus
            ends = [((a, a), (b, b)), ((a, b), (b, a))]
            ends = ends if rng.random() < 0.75 else [((48, a), (48, b)), ((a, 48), (b, 48))]
            for start, end in ends:
                cv2.line(sign, start, end, within, thick, cv2.LINE_AA)
        elif kind < 0.65:
            play = np.array([(a, a - 4), (a, 100 - a), (b + 4, 48)], np.int32)
            cv2.fillPoly(sign, [play], within, cv2.LINE_AA)
        elif kind < 0.8:  # menu, or pause
            for at in (32, 48, 64) if rng.random() < 0.5 else (38, 58):
                across = rng.random() < 0.5
                start, end = ((a, at), (b, at)) if across else ((at, a), (at, b))
                cv2.line(sign, start, end, within, thick, cv2.LINE_AA)
        elif kind < 0.9:
            cv2.circle(sign, (48, 48), int(rng.integers(8, 30)), within, -1, cv2.LINE_AA)
        else:  # a switch
            sign = np.zeros((96, 176), np.float32)
            cv2.line(sign, (48, 48), (128, 48), 0.5, 92, cv2.LINE_AA)
            cv2.circle(sign, (int(rng.choice([48, 128])), 48), 40, 1.0, -1, cv2.LINE_AA)
        paste(picture, scaled(flat(sign), high / 96), x, y, opacity, ink)
        if rng.random() < 0.5:
            said = text_alpha(word(rng), face, max(5, int(high * rng.uniform(0.4, 0.9))))
            side = -said.shape[1] - 0.4 * high if rng.random() < 0.5 else 1.4 * high
            paste(picture, flat(said), int(x + side), int(y + 0.2 * high), opacity, ink)
        x += int(rng.choice([0, high * rng.uniform(1.1, 6)]))
        y += int(rng.choice([0, high * rng.uniform(1.1, 3)]))


def glows(rng: np.random.Generator, picture: Floats, scale: float) -> None:
    """Soft lights over whatever is there: reflections, a sun, lens flare."""
    for _ in range(int(rng.integers(1, 5))):
        high = scale * np.exp(rng.uniform(np.log(8), np.log(70)))
        light = np.zeros((128, 128), np.float32)
        axes = (int(rng.integers(14, 40)), int(rng.integers(14, 40)))
        cv2.ellipse(light, ((64, 64), axes, float(rng.uniform(0, 180))), 1.0, -1)
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), rng.uniform(2, 16)), np.float32)
        x, y = (int(v) for v in rng.integers(-10, picture.shape[0], 2))
        ink = colour(rng, white=rng.random() < 0.8)
        paste(picture, scaled(flat(light), high / 64), x, y, rng.uniform(0.3, 1), ink)


def clutter(rng: np.random.Generator, picture: Floats, scale: float) -> None:
    """Paint one kind of such things in place; `scale` is native pixels per detector pixel."""
    kinds = (lines, lone_words, logos, pale_things, lamps, buttons, glows)
    kinds[int(rng.choice(7, p=[0.2, 0.18, 0.2, 0.14, 0.06, 0.14, 0.08]))](rng, picture, scale)


def heading(rng: np.random.Generator, picture: Floats, box: Box) -> None:
    """Letters of a mark's own size across the box where it will lie: a heading, score or subtitle.

    Often on a bar, sometimes outlined as subtitles are or behind a sign like the mark's own.
    """
    left, top, _, bottom = box
    high = (bottom - top) * rng.uniform(0.45, 1.3)
    white = rng.random() < 0.6
    ink = colour(rng, white=True) if white else rng.uniform(0, 110, 3).astype(np.float32)
    face = str(rng.choice(fonts()[0 if rng.random() < 0.7 else 1]))
    said = " ".join(word(rng) for _ in range(int(rng.integers(1, 7))))
    letters = flat(text_alpha(said, face, max(6, int(high))))
    h, w = letters.alpha.shape
    x = int(left - rng.uniform(0, 0.8) * w if rng.random() < 0.6 else left + 1.5 * high)
    y = int((top + bottom - h) / 2 + rng.uniform(-0.6, 0.6) * (bottom - top))
    if rng.random() < 0.5:
        edge = high * rng.uniform(0.1, 0.6)
        bar = np.s_[max(0, int(y - edge)) : max(0, int(y + h + edge)), max(0, int(x - edge)) :]
        ground = rng.uniform(0, 130, 3) if white else rng.uniform(170, 255, 3)
        picture[bar] += (ground.astype(np.float32) - picture[bar]) * np.float32(
            rng.choice([1, rng.uniform(0.4, 1)])
        )
    elif rng.random() < 0.5:
        paste(picture, soft(letters, 0.06 * high + 0.3), x + 1, y + 1, 1.0, 255 - ink)
    paste(picture, letters, x, y, rng.uniform(0.8, 1), ink)
    if rng.random() < 0.4:
        paste(picture, scaled(flat(badge(rng)), high / 96), x - int(1.3 * high), y, 1.0, ink)


def page(rng: np.random.Generator, size: int, *, paper: bool = False) -> Floats:
    """A screen or printed page (size, size, 3): headings, columns of text, boxes, badges.

    With `paper`, dark letters on what is nearly white.
    """
    dark = not paper and rng.random() < 0.35
    ground = rng.uniform(0, 60, 3) if dark else rng.uniform(200, 255) + rng.uniform(-12, 0, 3)
    if paper:
        ground = 255 - np.exp(rng.uniform(np.log(1.5), np.log(24))) + rng.uniform(-9, 0, 3)
    picture = (np.ones((size, size, 3)) * ground).astype(np.float32)
    bold, latin = fonts()
    body, head = str(rng.choice(latin)), str(rng.choice(bold))
    high = size / 288 * rng.uniform(6, 20)
    left, width = 0.0, size / int(rng.choice([1, 1, 2, 3]))
    while left < size:
        y = rng.uniform(-high, 2 * high)
        while y < size:
            ink = colour(rng, white=True) if dark else rng.uniform(0, 90, 3).astype(np.float32)
            x, kind, face, large = int(left + high / 2), rng.random(), body, high
            if kind < 0.08:
                large, face = high * rng.uniform(1.3, 2.5), head
            elif kind < 0.16:
                down, over = int(y + high * rng.uniform(1.2, 4)), int(left + width * 0.95)
                picture[max(0, int(y)) : down, x:over] = colour(rng, white=False)
                ink = colour(rng, white=rng.random() < 0.8)
                y, face = y + 0.2 * high, head
            elif kind < 0.28:
                sign = scaled(flat(badge(rng)), large / 96)
                paste(picture, sign, x, int(y), rng.uniform(0.6, 1), ink)
                x, face = int(x + large * rng.uniform(1.2, 1.6)), head
            elif kind < 0.36:
                y += high * rng.uniform(0.5, 3)
            said, many = word(rng), int(rng.integers(1, 9))
            said += "".join(" " + word(rng) for _ in range(many - 1))
            letters = text_alpha(said, face, max(5, int(large)))
            letters = letters[:, : max(1, int(left + width - x))]
            paste(picture, flat(letters), x, int(y), rng.uniform(0.7, 1), ink)
            y += large * rng.uniform(1.2, 1.6)
        left += width
    return picture
