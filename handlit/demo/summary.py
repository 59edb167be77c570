"""What a demo says at its end."""

from collections.abc import Sequence

from handlit.demo.records import Records
from handlit.demo.run import Demo
from handlit.formats.media import MediaFile


def summary(demo: Demo, media: Sequence[MediaFile], records: Records) -> list[str]:
    """Lines: how many hands in how many files, what was left out or damaged and why, and where the results are."""
    done = [records.finished[each.name] for each in media if each.name in records.finished]
    empty = [line["file"] for line in done if not line["hands"]]
    frames, with_hands, hands = (sum(line[key] for line in done) for key in ("frames", "frames_with_hands", "hands"))
    lines = [f"{_count(hands, 'hand')} in {with_hands} of {_count(frames, 'image')} of {_count(len(done), 'file')}"]
    if empty:
        lines.append(f"no hand is seen in {_count(len(empty), 'file')}, {empty[0]} first")
    lines += [line["note"] for line in done if line["note"]]
    if demo.skipped:
        name, reason = next(iter(demo.skipped.items()))
        lines.append(f"{_count(len(demo.skipped), 'file')} left out, {name} first: {reason}")
    lines.append(f"a line for each hand: {records.hands}")
    if demo.files:
        lines.append(f"drawings, meshes (glb) and numbers (npz): {demo.out}")
    return lines


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
